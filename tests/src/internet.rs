//! An internet of the test's own: a network namespace in which every address there is leads to this machine, a name server
//! that answers as the test says, and a listener that tells which address it was reached at.

use std::{
    collections::HashMap,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::Command,
    sync::{Arc, Mutex},
};

use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE,
    rdata::{A, AAAA, CNAME, RData},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};

/// Where the name server is, beside what the system's own resolver says.
const NAME_SERVER: &str = "127.0.0.53:53";

/// Makes a new namespace the internet and becomes the program that is the second argument. What that writes, and the files
/// for its resolver, are in a separate file system, mounted at the first.
const ENTER: &str = r#"set -e
dir=$1; shift
ip link set lo up
ip route add local default dev lo
ip -6 route add local default dev lo
# Of its neighbours in an answer nothing is heard here.
ip route add unreachable 9.9.9.9/32 table local
mount -t tmpfs tmpfs "$dir"
echo 'nameserver 127.0.0.53' >"$dir/resolv.conf"
echo 'hosts: files dns' >"$dir/nsswitch.conf"
for file in resolv.conf nsswitch.conf; do mount --bind "$dir/$file" "$(readlink -f /etc/$file)"; done
export TMPDIR="$dir"
exec "$@""#;

/// Runs an ignored test of this program in separate namespaces. Where the system makes none, says so and runs nothing.
///
/// The namespaces have no names. They end with the test, and this end of it with its thread, however that ends: the system
/// then kills what is left in them and forgets their mounts.
pub fn in_own_internet(test: &str) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let enter = |user: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "unshare"])
            .args(user)
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", ENTER, "sh"])
            .arg(dir.path());
        command
    };
    let mut why = Vec::new();
    // Root may where users may not.
    for user in [&["--map-root-user"][..], &[]] {
        match enter(user).arg("true").output() {
            Ok(tried) if tried.status.success() => {
                let status = enter(user)
                    .arg(std::env::current_exe().expect("a test knows its own path"))
                    .args(["--exact", test, "--ignored", "--nocapture"])
                    .status();
                assert!(status.expect("it starts").success(), "{test}");
                return;
            }
            Ok(tried) => why.push(String::from_utf8_lossy(&tried.stderr).trim().to_owned()),
            Err(error) => why.push(format!("setpriv: {error}")),
        }
    }
    // Past what captures the output of tests.
    let said = writeln!(
        std::io::stderr(),
        "SKIPPED {test}: this system makes no network namespace here ({})",
        why.join("; ")
    );
    said.expect("stderr is there");
}

/// What a name leads to.
#[derive(Debug, Clone)]
pub enum ServerAnswer {
    Address(IpAddr),
    Alias(&'static str),
}

impl From<&str> for ServerAnswer {
    fn from(address: &str) -> Self {
        Self::Address(address.parse().expect("an address"))
    }
}

/// A name's answers, one after another; the last stays.
type Zone = HashMap<String, Vec<Vec<ServerAnswer>>>;

/// Answers queries for addresses until dropped.
pub struct NameServer {
    asked: Arc<Mutex<HashMap<String, usize>>>,
    server: tokio::task::JoinHandle<()>,
}

impl NameServer {
    /// Of each name its answers, one after another; the last stays. An answer is a list of addresses and aliases.
    pub async fn start(zone: impl IntoIterator<Item = (&'static str, Vec<Vec<ServerAnswer>>)>) -> Self {
        let zone: Zone = zone
            .into_iter()
            .map(|(name, answers)| (name.to_owned(), answers))
            .collect();
        let socket = UdpSocket::bind(NAME_SERVER).await.expect("the port is free here");
        let asked = Arc::new(Mutex::new(HashMap::new()));
        let counts = Arc::clone(&asked);
        let server = tokio::spawn(async move {
            let mut query = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                let reply = answer(&zone, &counts, &query[..length]);
                socket.send_to(&reply, from).await.expect("it is sent");
            }
        });
        Self { asked, server }
    }

    /// How often a name was asked for.
    pub fn asked(&self, name: &str) -> usize {
        let asked = self.asked.lock().expect("no panic while locked");
        asked.get(name).copied().unwrap_or_default()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn answer(zone: &Zone, asked: &Mutex<HashMap<String, usize>>, query: &[u8]) -> Vec<u8> {
    let query = Packet::parse(query).expect("a query");
    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE);
    let question = query.questions.first().expect("a question").clone();
    let name = question.qname.to_string().to_lowercase();
    let kind = question.qtype;
    reply.questions.push(question);
    if let Some(answers) = zone.get(&name) {
        // A client asks for both kinds of addresses at a time: the first kind counts.
        let mut asked = asked.lock().expect("no panic while locked");
        let count = asked.entry(name.clone()).or_default();
        let now = answers.get(*count).or(answers.last()).expect("an answer");
        if kind == QTYPE::TYPE(TYPE::A) {
            *count += 1;
        }
        add(zone, &mut reply, &name, now, kind);
    } else {
        *reply.rcode_mut() = RCODE::NameError;
    }
    reply.build_bytes_vec().expect("a reply")
}

fn add(zone: &Zone, reply: &mut Packet<'_>, name: &str, answers: &[ServerAnswer], kind: QTYPE) {
    for answer in answers {
        let data = match answer {
            ServerAnswer::Address(IpAddr::V4(ip)) if kind == QTYPE::TYPE(TYPE::A) => {
                RData::A(A { address: (*ip).into() })
            }
            ServerAnswer::Address(IpAddr::V6(ip)) if kind == QTYPE::TYPE(TYPE::AAAA) => {
                RData::AAAA(AAAA { address: (*ip).into() })
            }
            ServerAnswer::Address(_) => continue,
            ServerAnswer::Alias(to) => RData::CNAME(CNAME(Name::new_unchecked(to))),
        };
        let owner = Name::new(name).expect("a name").into_owned();
        reply.answers.push(ResourceRecord::new(owner, CLASS::IN, 0, data));
        if let ServerAnswer::Alias(to) = answer {
            add(zone, reply, to, &zone[*to][0], kind);
        }
    }
}

/// No test calls it: a connection to it tells that all earlier ones have been counted.
const LAST: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 99, 99, 99));

/// What an address answers with.
pub type Mind = fn(path: &str) -> (u16, Option<String>);

/// Listens on one port of every address there is until dropped, and keeps which were connected to.
pub struct Everywhere {
    port: u16,
    reached: Arc<Mutex<Vec<IpAddr>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Everywhere {
    /// `mind` gets the path of a request and answers a status and where a redirect leads.
    pub async fn start(mind: Mind) -> Self {
        // Takes IPv4 as well.
        let listener = TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))
            .await
            .expect("a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let reached = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&reached);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let at = stream.local_addr().expect("a connected socket has an address").ip();
                kept.lock().expect("no panic while locked").push(at.to_canonical());
                tokio::spawn(serve(stream, mind));
            }
        });
        Self { port, reached, server }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The addresses connected to since it was last asked.
    pub async fn reached(&self) -> Vec<IpAddr> {
        TcpStream::connect((LAST, self.port)).await.expect("all is here");
        crate::eventually("the last connection", || async {
            let mut reached = self.reached.lock().expect("no panic while locked");
            let at = reached.iter().position(|ip| *ip == LAST)?;
            reached.remove(at);
            Some(std::mem::take(&mut *reached))
        })
        .await
    }

    /// Proves that it notices a connection to any address.
    pub async fn holds(&self) {
        for address in [
            "10.1.2.3",
            "127.0.0.1",
            "169.254.169.254",
            "8.8.8.8",
            "64:ff9b::7f00:1",
            "::1",
        ] {
            let address: IpAddr = address.parse().expect("an address");
            TcpStream::connect((address, self.port)).await.expect("all is here");
            assert_eq!(self.reached().await, [address]);
        }
    }
}

impl Drop for Everywhere {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// One request, and the end of the connection, so that the next try resolves its name again.
async fn serve(mut stream: TcpStream, mind: Mind) -> std::io::Result<()> {
    let mut text = Vec::new();
    let (path, missing) = loop {
        if stream.read_buf(&mut text).await? == 0 {
            return Ok(());
        }
        let head = String::from_utf8_lossy(&text).into_owned();
        if let Some((head, _)) = head.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse::<usize>().ok())?
            });
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            break (
                path,
                (head.len() + 4 + length.unwrap_or_default()).saturating_sub(text.len()),
            );
        }
    };
    let mut body = vec![0; missing];
    stream.read_exact(&mut body).await?;
    let (status, location) = mind(&path);
    let location = location.map_or(String::new(), |to| format!("location: {to}\r\n"));
    let answer = format!("HTTP/1.1 {status} Status\r\n{location}content-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// A list of addresses as one answer.
pub fn addresses(list: &[&str]) -> Vec<ServerAnswer> {
    list.iter().copied().map(ServerAnswer::from).collect()
}
