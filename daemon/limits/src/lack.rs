//! What the machine can run out of. A run waits until there is more of it, and never fails because of it.

use std::{fmt, io};

use rustix::io::Errno;

/// A resource of which the machine has none left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    Descriptors,
    Memory,
    Processes,
    Disk,
}

impl Lack {
    /// Returns the resource that an error of reading or writing a file says is missing. A full disk does not count: the run
    /// itself may have filled it.
    pub fn in_use(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::MFILE | Errno::NFILE => Some(Self::Descriptors),
            Errno::NOMEM => Some(Self::Memory),
            _ => None,
        }
    }

    /// Returns the resource that an error of making a run's folder says is missing, before the run has done anything.
    pub fn in_preparing(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error) {
            Some(Errno::NOSPC | Errno::DQUOT) => Some(Self::Disk),
            _ => Self::in_use(error),
        }
    }

    /// Returns the resource that an error of starting a program or a thread says is missing.
    pub fn in_starting(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error) {
            Some(Errno::AGAIN) => Some(Self::Processes),
            _ => Self::in_use(error),
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descriptors => "file descriptors",
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Disk => "disk space",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_is_recognized_by_its_number_and_by_what_was_done() {
        let error = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        for (errno, in_use, in_preparing, in_starting) in [
            (
                Errno::MFILE,
                Some(Lack::Descriptors),
                Some(Lack::Descriptors),
                Some(Lack::Descriptors),
            ),
            (Errno::NOMEM, Some(Lack::Memory), Some(Lack::Memory), Some(Lack::Memory)),
            (Errno::AGAIN, None, None, Some(Lack::Processes)),
            (Errno::NOSPC, None, Some(Lack::Disk), None),
            (Errno::NOENT, None, None, None),
        ] {
            let error = error(errno);
            assert_eq!(Lack::in_use(&error), in_use, "{error}");
            assert_eq!(Lack::in_preparing(&error), in_preparing, "{error}");
            assert_eq!(Lack::in_starting(&error), in_starting, "{error}");
        }
        assert_eq!(Lack::in_use(&io::Error::other("too many open files")), None);
    }
}
