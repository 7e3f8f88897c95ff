//! `/v1/files`: up, down, listed and deleted, in the share and in an object store alike, and nothing outside of either.

use std::{fs, os::unix::fs::symlink};

use onceover_tests::{Daemon, HttpAnswer, S3Server, eventually, s3::BUCKET};
use reqwest::{
    Client, RequestBuilder, Response,
    multipart::{Form, Part},
};
use serde_json::json;

/// A daemon that keeps files in its share, or in a store.
struct Place {
    daemon: Daemon,
    s3: Option<S3Server>,
    http: Client,
}

const LIMIT: &str = "[files]\nmax_bytes = 20_000_000\n";

async fn share() -> Place {
    Place {
        daemon: Daemon::builder().config(LIMIT).start().await,
        s3: None,
        http: Client::new(),
    }
}

async fn store() -> Place {
    let s3 = S3Server::start().await;
    let mut builder = Daemon::builder().config(&format!("{}buckets = ['other-one']\n{LIMIT}", s3.config()));
    for (name, value) in s3.keys() {
        builder = builder.env(name, value);
    }
    Place {
        daemon: builder.start().await,
        s3: Some(s3),
        http: Client::new(),
    }
}

impl Place {
    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.http
            .request(method.parse().unwrap(), format!("{}{path}", self.daemon.url()))
    }

    async fn upload(&self, query: &str, form: Form) -> HttpAnswer {
        let request = self
            .request("POST", &format!("/v1/files/upload{query}"))
            .multipart(form);
        HttpAnswer::of(request.send().await.unwrap()).await
    }

    async fn put(&self, path: &str, bytes: &[u8]) {
        let form = Form::new().text("file_path", path.to_owned()).part("file", file(bytes));
        let answer = self.upload("", form).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    async fn download(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = self.request("GET", &format!("/v1/files/download/{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn bytes(&self, path: &str) -> Vec<u8> {
        let answer = self.download(path, &[]).await;
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap().to_vec()
    }

    async fn listed(&self, query: &str) -> (Vec<String>, Option<String>) {
        let page = self.daemon.get(&format!("/v1/files{query}")).await.json();
        let files = page["files"].as_array().unwrap();
        let paths = files
            .iter()
            .map(|file| file["file_path"].as_str().unwrap().to_owned())
            .collect();
        (paths, page["next_cursor"].as_str().map(str::to_owned))
    }

    /// Everything there is, also what nobody should see.
    fn all(&self) -> Vec<String> {
        match &self.s3 {
            Some(s3) => s3.objects(""),
            None => {
                let root = self.daemon.data.join("share/workflows");
                let found = std::process::Command::new("find")
                    .arg(&root)
                    .args(["-type", "f", "-printf", "%P\n"])
                    .output();
                let mut files: Vec<_> = String::from_utf8(found.unwrap().stdout)
                    .unwrap()
                    .lines()
                    .map(str::to_owned)
                    .collect();
                files.sort();
                files
            }
        }
    }
}

fn file(bytes: &[u8]) -> Part {
    Part::bytes(bytes.to_vec()).file_name("any name.bin")
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 % 251) as u8).collect()
}

async fn go_up_and_come_down(place: &Place) {
    // Larger than the parts that objects are sent in.
    let large = pattern(11_000_000);
    let path = "t1/in/my clip 100%é.mp4";
    let encoded = "t1/in/my%20clip%20100%25%C3%A9.mp4";
    let query = format!("?file_path={encoded}&bucket={BUCKET}");
    let answer = place.upload(&query, Form::new().part("file", file(&large))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.json();
    assert_eq!((&told["file_path"], &told["bucket"]), (&json!(path), &json!(BUCKET)));
    assert_eq!(
        (&told["size"], &told["content_type"]),
        (&json!(11_000_000), &json!("video/mp4"))
    );
    let url = told["download_url"].as_str().unwrap();
    assert!(url.contains(encoded), "{url}");
    assert_eq!(place.s3.is_some(), url.contains("X-Amz-Expires=86400"), "{url}");
    let given = place.http.get(url).send().await.unwrap();
    assert_eq!(given.status(), 200);
    assert!(given.bytes().await.unwrap() == large, "the URL opens it without keys");

    let answer = place.download(encoded, &[]).await;
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(
        (header("content-type").as_str(), header("content-length").as_str()),
        ("video/mp4", "11000000")
    );
    assert_eq!(header("accept-ranges"), "bytes");
    assert!(header("content-disposition").starts_with("attachment; filename=\"my clip 100__.mp4\""));
    let etag = header("etag");
    assert!(answer.bytes().await.unwrap() == large);
    for (range, status, span) in [
        ("bytes=5-9", 206, 5..10),
        ("bytes=10999990-", 206, 10_999_990..11_000_000),
        ("bytes=-7", 206, 10_999_993..11_000_000),
        ("bytes=6000000-99000000", 206, 6_000_000..11_000_000),
        ("lines=1-2", 200, 0..11_000_000),
    ] {
        let answer = place.download(encoded, &[("range", range)]).await;
        assert_eq!(answer.status(), status, "{range}");
        if status == 206 {
            let expected = format!("bytes {}-{}/11000000", span.start, span.end - 1);
            assert_eq!(answer.headers()["content-range"], expected.as_str());
        }
        assert!(answer.bytes().await.unwrap() == large[span], "{range}");
    }
    let answer = place.download(encoded, &[("range", "bytes=11000000-")]).await;
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers()["content-range"].to_str().unwrap()
        ),
        (416, "bytes */11000000")
    );
    let status = async |headers: &[(&str, &str)]| place.download(encoded, headers).await.status().as_u16();
    assert_eq!(status(&[("range", "bytes=0-1"), ("if-range", &etag)]).await, 206);
    assert_eq!(status(&[("range", "bytes=0-1"), ("if-range", "\"other\"")]).await, 200);
    assert_eq!(status(&[("if-none-match", &etag)]).await, 304);
    assert_eq!(status(&[("if-none-match", "\"other\"")]).await, 200);
    let head = place
        .request("HEAD", &format!("/v1/files/download/{encoded}"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            head.status().as_u16(),
            head.headers()["content-length"].to_str().unwrap()
        ),
        (200, "11000000")
    );

    // D21: the path as a field of the form, before and after the file. It takes the place of what was there.
    place.put("t1/in/a.srt", b"one").await;
    let form = Form::new()
        .part("file", file(b"two"))
        .text("note", "ignored")
        .text("file_path", "t1/in/a.srt");
    let answer = place.upload("", form).await;
    assert_eq!(
        (answer.status, answer.json()["content_type"].clone()),
        (200, json!("application/x-subrip"))
    );
    assert_eq!(place.bytes("t1/in/a.srt").await, b"two");
    let form = Form::new()
        .part("file", file(b"three").mime_str("text/plain").unwrap())
        .text("file_path", "t1/in/a.srt");
    let answer = place.upload("?file_path=t1/in/a.srt", form).await;
    assert_eq!(
        (answer.status, answer.json()["content_type"].clone()),
        (200, json!("text/plain"))
    );

    for path in ["t1/b", "t2/c", "t2.txt", "t1/a/z"] {
        place.put(path, b"x").await;
    }
    let all = ["t1/a/z", "t1/b", "t1/in/a.srt", path, "t2.txt", "t2/c"];
    assert_eq!(place.listed("").await, (all.map(str::to_owned).to_vec(), None));
    assert_eq!(place.listed("?prefix=t1/in/").await.0, all[2..4]);
    assert_eq!(place.listed("?prefix=t").await.0, [""; 0], "a prefix is a folder");
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let (paths, next) = place.listed(&format!("?limit=2{cursor}")).await;
        assert!((1..=2).contains(&paths.len()));
        seen.extend(paths);
        match next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, all);

    let gone = place.daemon.call("DELETE", &format!("/v1/files/{encoded}"), None).await;
    assert_eq!((gone.status, &gone.json()["success"]), (200, &json!(true)));
    let again = place.daemon.call("DELETE", &format!("/v1/files/{encoded}"), None).await;
    assert_eq!(
        (again.status, &again.json()["success"]),
        (200, &json!(true)),
        "as the gateway had it"
    );
    // D22: not 500.
    // The store of the test has folders where a real one has none.
    let folders: &[&str] = if place.s3.is_some() { &[] } else { &["t1", "t1/in"] };
    for path in [encoded, "none/of/these"].iter().chain(folders) {
        let answer = HttpAnswer::of(place.download(path, &[]).await).await;
        assert_eq!((answer.status, answer.problem()), (404, "no-file".to_owned()), "{path}");
    }
}

async fn bad_requests_are_named_and_leave_nothing(place: &Place) {
    let some = || Form::new().part("file", file(b"x"));
    let other = || Form::new().text("other", "x");
    for path in [
        "..",
        "../x",
        "t1/../../x",
        "%2Fetc%2Fpasswd",
        "t1//x",
        "t1/",
        "a%00b",
        "a%0Ab",
        "./x",
        "",
        &"x".repeat(300),
    ] {
        let answer = place.upload(&format!("?file_path={path}"), some()).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["file_path".to_owned()]),
            "{path}"
        );
    }
    for path in ["%2e%2e%2fx", "t1%2F..%2Fx", "%2Fetc%2Fpasswd", "t1%2F%2Fx", "a%00"] {
        for (method, start) in [("GET", "/v1/files/download/"), ("DELETE", "/v1/files/")] {
            let answer = place.daemon.call(method, &format!("{start}{path}"), None).await;
            assert!(matches!(answer.status, 404 | 422), "{method} {path}: {answer:?}");
        }
    }
    let fields = async |query: &str, form: Form| {
        let answer = place.upload(query, form).await;
        assert_eq!(answer.status, 422, "{answer:?}");
        answer.fields()
    };
    assert_eq!(fields("", some()).await, ["file_path"]);
    assert_eq!(fields("?file_path=a/b", other()).await, ["file"]);
    assert_eq!(fields("", other()).await, ["file_path", "file"]);
    assert_eq!(
        fields("?file_path=a/b", Form::new().part("file", file(b""))).await,
        ["file"],
        "an empty file"
    );
    assert_eq!(
        fields("?file_path=a/b", some().part("file", file(b"y"))).await,
        ["file"],
        "two files"
    );
    assert_eq!(
        fields("?file_path=a/b", some().text("file_path", "a/c")).await,
        ["file_path"],
        "two places"
    );
    assert_eq!(
        fields("?file_path=a/b", some().text("file_path", "x".repeat(9000))).await,
        ["file_path"]
    );
    assert_eq!(fields("?file_path=a/b&bucket=Up", some()).await, ["bucket"]);
    for query in [
        "limit=0",
        "limit=1001",
        "cursor=%2B",
        "cursor=Li4",
        "prefix=..",
        "bucket=B",
    ] {
        let answer = place.daemon.get(&format!("/v1/files?{query}")).await;
        assert_eq!(
            (answer.status, answer.fields()[0].as_str()),
            (422, query.split('=').next().unwrap()),
            "{query}"
        );
    }
    let large = place
        .upload("?file_path=a/b", Form::new().part("file", file(&vec![0; 20_000_001])))
        .await;
    assert_eq!((large.status, large.problem()), (413, "too-large".to_owned()));
    assert!(large.text.contains("files.max_bytes"));
    let form = Form::new()
        .part("file", file(&vec![0; 20_000_001]))
        .text("file_path", "a/b");
    assert_eq!(place.upload("", form).await.status, 413);
    let raw = place.request("POST", "/v1/files/upload?file_path=a/b");
    let raw = HttpAnswer::of(raw.header("content-type", "text/plain").body("x").send().await.unwrap()).await;
    assert_eq!((raw.status, raw.problem()), (400, "bad-body".to_owned()));
    let broken = place.request("POST", "/v1/files/upload?file_path=a/b");
    let broken = broken.header("content-type", "multipart/form-data; boundary=x");
    let cut = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nhalf a f";
    assert_eq!(broken.body(cut).send().await.unwrap().status(), 400);
    assert_eq!(
        place.all(),
        [""; 0],
        "nothing is stored, and no part of anything is left"
    );
    assert_eq!(place.daemon.times_reached("uploaded_file").await, 2);
}

#[tokio::test]
async fn d21_d22_files_go_up_and_come_down_in_the_share() {
    let place = share().await;
    bad_requests_are_named_and_leave_nothing(&place).await;
    go_up_and_come_down(&place).await;
    // A file at a folder's place, and a folder at a file's.
    for path in ["t1/in", "t2.txt/x"] {
        let answer = place
            .upload(&format!("?file_path={path}"), Form::new().part("file", file(b"x")))
            .await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["file_path".to_owned()]),
            "{path}"
        );
    }
    let answer = place
        .upload("?file_path=.incoming/x", Form::new().part("file", file(b"x")))
        .await;
    assert_eq!(answer.fields(), ["file_path"]);
    let answer = place
        .upload("?file_path=a/b&bucket=other", Form::new().part("file", file(b"x")))
        .await;
    assert!(
        answer.fields() == ["bucket"] && answer.text.contains("no object store"),
        "{answer:?}"
    );
    // What was uploaded is an input like any other.
    let text = "1\n00:00:00,000 --> 00:00:01,000\nhello\n";
    place.put("t5/in/a.srt", text.as_bytes()).await;
    assert_eq!(place.bytes("t5/in/a.srt").await, text.as_bytes());
    let report = place.daemon.post("/v1/tasks/t5/delete", json!({})).await.json();
    assert_eq!(report["results"][0]["status"], "deleted");
}

/// Those of the configuration, whatever the store's keys open; and what is in one is never taken for what is in another.
async fn only_named_buckets_are_opened(place: &Place) {
    let some = |text: &str| Form::new().part("file", file(text.as_bytes()));
    place.put("a/b", b"of the first").await;
    let answer = place
        .upload("?file_path=a/b&bucket=other-one", some("of the other"))
        .await;
    assert_eq!(
        (answer.status, &answer.json()["bucket"]),
        (200, &json!("other-one")),
        "it is made"
    );
    let listed = place.daemon.get("/v1/files?bucket=other-one").await.json();
    assert_eq!(listed["files"][0]["file_path"], "a/b");
    let url = listed["files"][0]["download_url"].as_str().unwrap();
    let given = place.http.get(url).send().await.unwrap();
    assert_eq!(given.text().await.unwrap(), "of the other", "{url}");
    assert_eq!(place.bytes("a/b").await, b"of the first");

    let made = place.s3.as_ref().unwrap().made(None);
    let refused = async |answer: HttpAnswer| {
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["bucket".to_owned()]),
            "{answer:?}"
        );
        answer.text
    };
    let text = refused(place.upload("?file_path=a/c&bucket=third-one", some("x")).await).await;
    assert!(text.contains("other-one") && text.contains("storage.buckets"), "{text}");
    refused(
        place
            .upload(
                "?file_path=a/c",
                Form::new().text("bucket", "third-one").part("file", file(b"x")),
            )
            .await,
    )
    .await;
    for (method, path) in [
        ("GET", "/v1/files?bucket=third-one"),
        ("GET", "/v1/files/download/a/b?bucket=third-one"),
        ("DELETE", "/v1/files/a/b?bucket=third-one"),
    ] {
        refused(place.daemon.call(method, path, None).await).await;
    }
    // A bucket that is named when the file is on its way to another.
    let late = some("x").text("bucket", "other-one");
    refused(place.upload("?file_path=a/c", late).await).await;
    let late = some("late").text("file_path", "a/late").text("bucket", "other-one");
    let answer = place.upload("", late).await;
    assert_eq!(
        (answer.status, &answer.json()["bucket"]),
        (200, &json!("other-one")),
        "nothing was on its way"
    );
    assert_eq!(place.s3.as_ref().unwrap().made(None), made + 1);
    assert_eq!(place.s3.as_ref().unwrap().objects("a"), ["a/b"]);
}

#[tokio::test]
async fn without_a_store_there_is_the_configured_bucket_and_no_other() {
    let daemon = Daemon::builder().config("[storage]\nbucket = 'media'\n").start().await;
    assert_eq!(daemon.get("/v1/files").await.json()["bucket"], "media");
    assert_eq!(daemon.get("/v1/files?bucket=media").await.status, 200);
    let answer = daemon.get(&format!("/v1/files?bucket={BUCKET}")).await;
    assert_eq!((answer.status, answer.fields()), (422, vec!["bucket".to_owned()]));
    assert!(answer.text.contains("'media'"), "{}", answer.text);
}

#[tokio::test]
async fn d21_d22_files_go_up_and_come_down_in_a_store() {
    let mut place = store().await;
    bad_requests_are_named_and_leave_nothing(&place).await;
    go_up_and_come_down(&place).await;
    only_named_buckets_are_opened(&place).await;
    assert!(!place.daemon.data.join("share/workflows/a").exists());
    place.s3.as_mut().unwrap().stop().await;
    for (method, path) in [
        ("GET", "/v1/files"),
        ("GET", "/v1/files/download/t1/b"),
        ("DELETE", "/v1/files/t1/b"),
    ] {
        let answer = place.daemon.call(method, path, None).await;
        assert_eq!(
            (answer.status, answer.problem()),
            (503, "storage-unavailable".to_owned()),
            "{method} {path}"
        );
    }
    let answer = place
        .upload("?file_path=a/b", Form::new().part("file", file(b"x")))
        .await;
    assert_eq!(
        (answer.status, answer.problem()),
        (503, "storage-unavailable".to_owned())
    );
}

#[tokio::test]
async fn d30_only_folders_below_a_tasks_own_can_be_deleted_and_nothing_through_a_link() {
    let place = share().await;
    let share = place.daemon.data.join("share/workflows");
    let outside = place.daemon.dir().join("outside");
    fs::create_dir_all(outside.join("inner")).unwrap();
    fs::write(outside.join("inner/kept"), "x").unwrap();
    for path in ["t1/a/b/1", "t1/a/2", "t1/c", "t2/x/y"] {
        place.put(path, b"12345").await;
    }
    symlink(&outside, share.join("t1/link")).unwrap();
    let delete = async |path: &str| {
        let path = path.replace('%', "%25").replace('/', "%2F");
        place
            .daemon
            .call("DELETE", &format!("/v1/files/directories?directory_path={path}"), None)
            .await
    };
    let absolute = share.display().to_string();
    for bad in [
        "/share/",
        "/share",
        "share/",
        "/share/workflows",
        "/share/workflows/",
        "share/workflows/t1",
        "/share/workflows/t1/",
        "share/workflows/../../etc/x",
        "/share/workflows/t1/..",
        "share/workflows/t1/../t2/x",
        "/etc",
        "/",
        "",
        "t1/a",
        "share/workflows//t1/a",
        "share/workflows/.incoming/x",
        "/share/workflows/t1/a/../../t2/x",
        &absolute,
        &format!("{absolute}/t1"),
        &format!("{absolute}/../x/y"),
        "share/workflows/t1/link",
        "share/workflows/t1/link/inner",
        "share/workflows/t1/c",
    ] {
        let answer = delete(bad).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (422, vec!["directory_path".to_owned()]),
            "{bad}: {answer:?}"
        );
    }
    assert_eq!(place.all(), ["t1/a/2", "t1/a/b/1", "t1/c", "t2/x/y"]);
    let gone = delete("share/workflows/t1/a/b").await.json();
    assert_eq!((&gone["success"], &gone["file_size"]), (&json!(true), &json!(5)));
    assert_eq!(
        delete("/share/workflows/t1/a/").await.json()["message"],
        "removed 1 files, 5 bytes"
    );
    assert_eq!(
        delete("/share/workflows/t1/a").await.json()["success"],
        true,
        "absent is success, as the gateway had it"
    );
    assert_eq!(delete(&format!("{absolute}/t2/x")).await.status, 200);
    assert_eq!(place.all(), ["t1/c"]);

    // Through a link nothing is read, written or removed that lies outside.
    fs::write(outside.join("secret"), "secret").unwrap();
    symlink(outside.join("secret"), share.join("t1/secret")).unwrap();
    for path in ["t1/link/secret", "t1/secret"] {
        assert_eq!(place.download(path, &[]).await.status(), 404, "{path}");
    }
    let answer = place
        .upload("?file_path=t1/link/new", Form::new().part("file", file(b"x")))
        .await;
    assert_eq!(answer.fields(), ["file_path"]);
    assert_eq!(
        place
            .daemon
            .call("DELETE", "/v1/files/t1/link/secret", None)
            .await
            .status,
        422
    );
    assert_eq!(
        place.daemon.call("DELETE", "/v1/files/t1/secret", None).await.status,
        200,
        "the link itself"
    );
    assert!(outside.join("secret").is_file() && outside.join("inner/kept").is_file() && !outside.join("new").exists());
}

#[tokio::test]
async fn a_result_whose_file_was_deleted_runs_again() {
    let place = share().await;
    let stage = place.daemon.done("t1", "test.file", json!({})).await;
    let run = stage.run_id.unwrap();
    // By the link of the stage, too, which is set once the result is recorded.
    let link = place.daemon.data.join("share/workflows/t1/nodes/test.file");
    eventually("the stage's link", || async { link.exists().then_some(()) }).await;
    assert_eq!(place.bytes("t1/nodes/test.file/result.txt").await, b"text");
    let path = format!("/v1/files/t1/runs/{run}/result.txt");
    assert_eq!(place.daemon.call("DELETE", &path, None).await.status, 200);
    let again = place.daemon.submit("t1", "test.file", json!({})).await;
    assert_eq!(again.reuse_info.reason.as_deref(), Some("artifact_missing"));
}
