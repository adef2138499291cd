//! Whose word is taken for where a call comes from.

use std::net::{IpAddr, Ipv6Addr};

use tonic::codegen::http::HeaderMap;

const FORWARDED: &str = "x-forwarded-for";

/// Addresses and networks of proxies that say truthfully whom they stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: u128,
    bits: u32,
}

impl std::str::FromStr for TrustedProxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let networks = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        networks
            .map(|part| {
                network(part).ok_or_else(|| {
                    "give addresses or networks, divided by commas, such as 10.0.0.2,172.16.0.0/12".to_owned()
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl TrustedProxies {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = wide(address);
        self.0
            .iter()
            .any(|network| (address ^ network.address) & mask(network.bits) == 0)
    }

    /// Who calls: the peer, or whom trusted proxies stand for. Each proxy adds to the header's end, so the last entry that
    /// is not itself a trusted proxy's is the last that can be believed.
    pub(crate) fn caller_of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.contains(peer) {
            return peer;
        }
        let mut caller = peer;
        let values: Vec<_> = headers.get_all(FORWARDED).iter().collect();
        // What can't be read ends the search as what is no address does: before it stands what nobody vouches for.
        let entries = values
            .into_iter()
            .rev()
            .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
        for entry in entries {
            let address = std::str::from_utf8(entry).map(|entry| entry.trim().parse());
            let Ok(Ok(address)) = address else { break };
            caller = address;
            if !self.contains(address) {
                break;
            }
        }
        caller
    }
}

fn network(text: &str) -> Option<Network> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits: u32 = bits.map_or(Ok(most), str::parse).ok()?;
    (bits <= most).then(|| Network {
        address: wide(address),
        bits: bits + 128 - most,
    })
}

pub(crate) fn wide(address: IpAddr) -> u128 {
    let wide: Ipv6Addr = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    wide.into()
}

pub(crate) fn mask(bits: u32) -> u128 {
    u128::MAX.checked_shl(128 - bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use tonic::codegen::http::HeaderValue;

    use super::*;

    fn caller(proxies: &str, peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(FORWARDED, value);
        }
        let proxies: TrustedProxies = proxies.parse().unwrap();
        proxies.caller_of(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_what_they_added() {
        let forged = ["6.6.6.6, 1.2.3.4"];
        assert_eq!(caller("", "9.9.9.9", &forged), "9.9.9.9");
        assert_eq!(caller("10.0.0.0/8", "9.9.9.9", &forged), "9.9.9.9");
        assert_eq!(caller("10.0.0.0/8", "10.1.1.1", &forged), "1.2.3.4");
        assert_eq!(caller("10.0.0.0/8", "10.1.1.1", &[]), "10.1.1.1");
        assert_eq!(
            caller("10.0.0.0/8", "10.1.1.1", &["6.6.6.6", "1.2.3.4, 10.2.2.2"]),
            "1.2.3.4"
        );
        assert_eq!(
            caller("10.0.0.0/8", "10.1.1.1", &["1.2.3.4, unknown"]),
            "10.1.1.1"
        );
        // A value that is no text: what stands before it is the caller's own word.
        for unread in [
            &["6.6.6.6", "\u{e9}"][..],
            &["6.6.6.6, \u{e9}"],
            &["6.6.6.6", "\u{e9}", "10.2.2.2"],
        ] {
            let believed = caller("10.0.0.0/8", "10.1.1.1", unread);
            assert!(believed.starts_with("10."), "{unread:?}: {believed}");
        }
        assert_eq!(caller("10.0.0.2", "10.0.0.3", &forged), "10.0.0.3");
        assert_eq!(caller("fd00::/8,::1", "::1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(caller("0.0.0.0/0", "::ffff:1.1.1.1", &[]), "::ffff:1.1.1.1");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in [
            "proxy",
            "10.0.0.0/33",
            "10.0.0.0/",
            "/8",
            "::/129",
            "10.0.0.0/-1",
            "10.0.0.1;10.0.0.2",
        ] {
            assert!(bad.parse::<TrustedProxies>().is_err(), "{bad}");
        }
    }
}
