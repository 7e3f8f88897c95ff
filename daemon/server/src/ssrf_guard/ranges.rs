//! Which addresses are the public internet's, and what the others are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}

/// The first that contains an address says what it is, so narrow ones stand before wide ones.
const V4: [(Ipv4Net, &str); 19] = [
    (v4(0, 0, 0, 0, 8), "this machine's"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(10, 0, 0, 0, 8), "private"),
    (v4(172, 16, 0, 0, 12), "private"),
    (v4(192, 168, 0, 0, 16), "private"),
    (v4(100, 100, 100, 200, 32), "a cloud's metadata service"),
    (v4(100, 64, 0, 0, 10), "a provider's inside network"),
    (v4(169, 254, 169, 254, 32), "a cloud's metadata service"),
    (v4(169, 254, 0, 0, 16), "link-local"),
    (v4(192, 0, 0, 0, 24), "reserved"),
    (v4(192, 0, 2, 0, 24), "documentation"),
    (v4(192, 88, 99, 0, 24), "a 6to4 relay"),
    (v4(198, 18, 0, 0, 15), "benchmarking"),
    (v4(198, 51, 100, 0, 24), "documentation"),
    (v4(203, 0, 113, 0, 24), "documentation"),
    // Public by its number, answered by the host of every Azure machine.
    (v4(168, 63, 129, 16, 32), "a cloud's metadata service"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(255, 255, 255, 255, 32), "broadcast"),
    (v4(240, 0, 0, 0, 4), "reserved"),
];

/// Public addresses lie in here, all of them; what else there is gets its name below.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 3);

const V6: [(Ipv6Net, &str); 16] = [
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "loopback"),
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), "this machine's"),
    (v6(0, 0, 96), "an IPv4 address in disguise"),
    (
        Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96),
        "an IPv4 address in disguise",
    ),
    (v6(0x64, 0xff9b, 96), "translated to IPv4"),
    (
        Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
        "translated to IPv4",
    ),
    (v6(0x100, 0, 64), "discard-only"),
    (v6(0x5f00, 0, 16), "segment routing's"),
    (v6(0xfc00, 0, 7), "private"),
    (v6(0xfe80, 0, 10), "link-local"),
    (v6(0xfec0, 0, 10), "site-local"),
    (v6(0xff00, 0, 8), "multicast"),
    // Inside the global block, and yet not public. 2001::/23 holds Teredo (2001::/32), benchmarking and ORCHIDs.
    (v6(0x2001, 0, 23), "a protocol's own, such as Teredo"),
    (v6(0x2001, 0xdb8, 32), "documentation"),
    (v6(0x2002, 0, 16), "a 6to4 tunnel"),
    (v6(0x3fff, 0, 20), "documentation"),
];

/// Why an address is not public: what it is, and the range or address that an operator would allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotPublic {
    pub what: &'static str,
    pub allow: String,
}

/// Whether an address may be called without the operator's word. An IPv4 address written as IPv6 counts as what it is.
pub fn is_public(ip: IpAddr) -> bool {
    not_public(ip).is_none()
}

/// `None` for a public address.
pub(super) fn not_public(ip: IpAddr) -> Option<NotPublic> {
    let ip = ip.to_canonical();
    let (what, net) = match ip {
        IpAddr::V4(ip) => {
            let (net, what) = V4.iter().find(|(net, _)| net.contains(&ip))?;
            (*what, IpNet::from(*net))
        }
        IpAddr::V6(ip) => match V6.iter().find(|(net, _)| net.contains(&ip)) {
            Some((net, what)) => (*what, IpNet::from(*net)),
            None if GLOBAL_V6.contains(&ip) => return None,
            None => ("outside the public internet", IpNet::from(IpAddr::V6(ip))),
        },
    };
    // A home network is allowed as a whole. Of anything stranger no more than the one address is suggested.
    let allow = match (what, ip) {
        ("private", IpAddr::V4(_)) => net.to_string(),
        _ => ip.to_string(),
    };
    Some(NotPublic { what, allow })
}
