//! An object store that speaks S3 for real (`s3s` with `s3s-fs`, signatures checked), counts what it is asked, and can be
//! taken away, or made to wait, in the middle.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use hyper::{Method, Request, Uri, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

const ACCESS_KEY: &str = "test-access-key";
/// Must be nowhere but in requests' signatures.
pub const SECRET_KEY: &str = "test-secret-key-that-nobody-may-see";
pub const BUCKET: &str = "yivideo";

/// Where objects wait, when they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    Nothing,
    /// Objects are not taken in after so many more.
    After(usize),
    /// Objects are accepted, but after so many more no answer is sent.
    Answers(usize),
}

#[derive(Clone)]
struct State {
    /// Method and URI of what was done, in order.
    done: Arc<Mutex<Vec<(Method, Uri)>>>,
    hold: watch::Sender<Hold>,
}

/// Listens on a separate port until dropped.
pub struct S3Server {
    dir: TempDir,
    port: u16,
    state: State,
    running: Option<JoinHandle<()>>,
}

impl S3Server {
    /// Starts it without any bucket.
    pub async fn start() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("oos3")
            .tempdir()
            .expect("a temporary folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut server = Self {
            port: listener.local_addr().expect("an address").port(),
            dir,
            state: State {
                done: Arc::default(),
                hold: watch::channel(Hold::Nothing).0,
            },
            running: None,
        };
        server.serve(listener);
        server
    }

    fn serve(&mut self, listener: TcpListener) {
        let files = FileSystem::new(self.dir.path()).expect("a folder");
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let (service, state) = (builder.build(), self.state.clone());
        self.running = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (service, state) = (service.clone(), state.clone());
                connections.spawn(async move {
                    let answer = service_fn(|request| answer(service.clone(), state.clone(), request));
                    // A connection that breaks off is what some tests want.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), answer)
                        .await;
                });
            }
        }));
    }

    /// Takes it away: nobody listens, and what was under way breaks off.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            let _ = running.await;
        }
    }

    /// Brings it back at the same port, with what it had.
    pub async fn resume(&mut self) {
        let listener = crate::eventually("the port", || async {
            TcpListener::bind(("127.0.0.1", self.port)).await.ok()
        })
        .await;
        self.serve(listener);
    }

    pub fn hold(&self, hold: Hold) {
        self.state.hold.send_replace(hold);
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The configuration of a daemon that uses it.
    pub fn config(&self) -> String {
        format!("[storage]\nurl = '{}'\nallow_http = true\n", self.url())
    }

    /// The keys, as a daemon's environment has them.
    pub fn keys(&self) -> [(&'static str, &'static str); 2] {
        [("MINIO_ACCESS_KEY", ACCESS_KEY), ("MINIO_SECRET_KEY", SECRET_KEY)]
    }

    fn bucket(&self) -> PathBuf {
        self.dir.path().join(BUCKET)
    }

    /// Puts an object there behind everybody's back.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        let path = self.bucket().join(key);
        fs::create_dir_all(path.parent().expect("a bucket")).expect("a folder");
        fs::write(path, bytes).expect("the object is written");
    }

    pub fn object(&self, key: &str) -> Option<Vec<u8>> {
        fs::read(self.bucket().join(key)).ok()
    }

    /// Keys of all objects below a folder, sorted.
    pub fn objects(&self, folder: &str) -> Vec<String> {
        fn walk(folder: PathBuf, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.path() {
                    path if path.is_dir() => walk(path, found),
                    path => found.push(path),
                }
            }
        }
        let mut found = Vec::new();
        walk(self.bucket().join(folder), &mut found);
        let bucket = self.bucket();
        let key = |path: PathBuf| path.strip_prefix(&bucket).expect("in it").display().to_string();
        let mut keys: Vec<_> = found.into_iter().map(key).collect();
        keys.sort();
        keys
    }

    /// How many objects were made, in one go or at the end of their parts; of one key with `Some`.
    pub fn made(&self, key: Option<&str>) -> usize {
        let done = self.state.done.lock().expect("no thread panics with the list");
        let made = done.iter().filter(|(method, uri)| makes(method, uri));
        made.filter(|(_, uri)| key.is_none_or(|key| decoded(uri) == format!("/{BUCKET}/{key}")))
            .count()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }
}

fn decoded(uri: &Uri) -> String {
    percent_encoding::percent_decode_str(uri.path())
        .decode_utf8_lossy()
        .into_owned()
}

/// Whether a request makes an object.
fn makes(method: &Method, uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    let of_an_object = uri.path().trim_matches('/').contains('/');
    match *method {
        Method::PUT => of_an_object && !query.contains("uploadId="),
        Method::POST => query.contains("uploadId="),
        _ => false,
    }
}

async fn answer(
    service: S3Service,
    state: State,
    request: Request<Incoming>,
) -> Result<hyper::Response<s3s::Body>, s3s::HttpError> {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let writes = matches!(method, Method::PUT | Method::POST) && uri.path().trim_matches('/').contains('/');
    let mut hold = state.hold.subscribe();
    if writes {
        // Whether this one waits, and one less for the next.
        let free = |hold: &mut Hold| match hold {
            Hold::After(left @ 1..) => {
                *left -= 1;
                true
            }
            Hold::After(0) => false,
            _ => true,
        };
        let mut passes = false;
        state.hold.send_modify(|hold| passes = free(hold));
        if !passes {
            let _ = hold.wait_for(|hold| *hold == Hold::Nothing).await;
        }
    }
    let answered = service.call(request.map(s3s::Body::from)).await;
    if answered.as_ref().is_ok_and(|answer| answer.status().is_success()) {
        let mut done = state.done.lock().expect("no thread panics with the list");
        done.push((method.clone(), uri.clone()));
    }
    if writes {
        let mut told = false;
        state.hold.send_modify(|hold| {
            told = match hold {
                Hold::Answers(left @ 1..) => {
                    *left -= 1;
                    true
                }
                Hold::Answers(0) => false,
                _ => true,
            }
        });
        if !told {
            let _ = hold.wait_for(|hold| *hold == Hold::Nothing).await;
        }
    }
    answered
}
