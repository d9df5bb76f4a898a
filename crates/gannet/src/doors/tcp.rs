//! Listening at addresses and ports.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpSocket, lookup_host};

/// Listens at each of `hosts`, or at this machine's own two addresses if there are none, on one
/// port for all. Port 0 picks a free one.
///
/// # Errors
/// What could not be done where, and what the system said.
pub(crate) async fn listen(hosts: &[String], port: u16) -> Result<Vec<TcpListener>, NoListener> {
    let addresses = if hosts.is_empty() {
        vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
    } else {
        resolve(hosts, port).await?
    };
    let mut tries_left = if port == 0 { PICKS_MAX } else { 1 };
    loop {
        tries_left -= 1;
        match listen_at_all(&addresses, hosts.is_empty()) {
            // The port that was free at one address is taken at another.
            Err(error) if tries_left > 0 && error.source.kind() == io::ErrorKind::AddrInUse => {}
            done => return done,
        }
    }
}

/// It could not be listened at an address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {place}")]
pub(crate) struct NoListener {
    place: String,
    source: io::Error,
}

async fn resolve(hosts: &[String], port: u16) -> Result<Vec<SocketAddr>, NoListener> {
    let mut addresses = Vec::new();
    for host in hosts {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let found = lookup_host((bare, port))
            .await
            .map_err(|source| NoListener { place: format!("`{host}`"), source })?;
        for address in found {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    Ok(addresses)
}

fn listen_at_all(
    addresses: &[SocketAddr],
    may_lack_ipv6: bool,
) -> Result<Vec<TcpListener>, NoListener> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    for &(mut address) in addresses {
        let first = listeners.first().and_then(|first| first.local_addr().ok());
        if let (0, Some(first)) = (address.port(), first) {
            address.set_port(first.port());
        }
        match listen_at(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if may_lack_ipv6 && address.is_ipv6() && is_absence(&error) => {
                tracing::debug!(%error, "this machine has no IPv6");
            }
            Err(source) => return Err(NoListener { place: address.to_string(), source }),
        }
    }
    Ok(listeners)
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    prepare(&socket)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Sets what the connections that come from this socket inherit.
fn prepare(socket: &TcpSocket) -> io::Result<()> {
    let socket = SockRef::from(socket);
    // A peer that lost its power or its network says no farewell, and a lock is held for it.
    let probes = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    socket.set_tcp_keepalive(&probes)?;
    // Else the system takes megabytes at once, and tells of a slow reader's progress only when a
    // third of them is gone: that would look like none at all.
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    Ok(())
}

/// Whether there is no such address, rather than somebody at it.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, Unsupported};
    matches!(error.kind(), AddrNotAvailable | Unsupported)
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

const BACKLOG: u32 = 1024;
#[cfg(target_os = "linux")]
const UNSENT_BYTES_MAX: u32 = 512 * 1024;
const PICKS_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_port_is_picked_for_all_addresses() {
        let listeners = listen(&[], 0).await.unwrap();
        let ports: Vec<u16> =
            listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        assert!(ports[0] != 0 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
        let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap());
        assert!(addresses.into_iter().all(|address| address.ip().is_loopback()));
    }

    #[tokio::test]
    async fn connections_inherit_what_the_socket_has() {
        let listeners = listen(&["127.0.0.1".to_owned()], 0).await.unwrap();
        let address = listeners[0].local_addr().unwrap();
        let (_client, accepted) =
            tokio::join!(tokio::net::TcpStream::connect(address), listeners[0].accept());
        let (stream, _) = accepted.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), UNSENT_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_taken_port_is_told() {
        let first = listen(&["127.0.0.1".to_owned()], 0).await.unwrap();
        let address = first[0].local_addr().unwrap();
        let error = listen(&["127.0.0.1".to_owned()], address.port()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen at {address}"));
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn hosts_may_be_names_and_bracketed_addresses() {
        let hosts = ["localhost", "127.0.0.1", "[127.0.0.2]"].map(str::to_owned);
        let listeners = listen(&hosts, 0).await.unwrap();
        let ips: Vec<String> =
            listeners.iter().map(|it| it.local_addr().unwrap().ip().to_string()).collect();
        assert_eq!(ips.iter().filter(|ip| *ip == "127.0.0.1").count(), 1, "{ips:?}");
        assert!(ips.contains(&"127.0.0.2".to_owned()), "{ips:?}");
    }
}
