//! What the machine can run out of. A lack is waited out, and never the reason that a run fails.

use std::{fmt, io};

use rustix::io::Errno;

/// A resource that the machine has none left of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    Descriptors,
    Memory,
    Processes,
    Disk,
}

impl Lack {
    /// What an error of reading or writing a file says is lacking. A full disk is not told here: it may be the run itself
    /// that has filled it.
    pub fn in_use(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::MFILE | Errno::NFILE => Some(Self::Descriptors),
            Errno::NOMEM => Some(Self::Memory),
            _ => None,
        }
    }

    /// What an error of making a run's folder says is lacking, before the run has done anything.
    pub fn in_preparing(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error) {
            Some(Errno::NOSPC | Errno::DQUOT) => Some(Self::Disk),
            _ => Self::in_use(error),
        }
    }

    /// What an error of starting a program or a thread says is lacking.
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
    fn a_lack_is_told_by_its_number_and_by_what_was_done() {
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
