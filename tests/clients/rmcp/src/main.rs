//! Drives `everything` with the client of rmcp, over stdio and HTTP, and over a restart of the server: `client-rmcp EVERYTHING`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientRequest, ProgressNotificationParam,
    ReadResourceRequestParams,
};
use rmcp::service::{NotificationContext, PeerRequestOptions, RunningService};
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use rmcp::{ClientHandler, RoleClient, ServiceExt};
use serde_json::{Value, json};

const ODD: &str = "é 漢 😀 a\u{2028}b\u{2029}c\u{85}d \\ \" \u{7f}";
const STEP: Duration = Duration::from_secs(20);

type Failure = Box<dyn std::error::Error>;
type Client = RunningService<RoleClient, Hears>;

/// What a client hears of the progress of its calls.
#[derive(Clone, Default)]
struct Hears(Arc<Mutex<Vec<f64>>>);

impl ClientHandler for Hears {
    async fn on_progress(
        &self,
        progress: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.0
            .lock()
            .expect("nothing panics here")
            .push(progress.progress);
    }
}

fn request(tool: &'static str, arguments: Value) -> CallToolRequestParams {
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    CallToolRequestParams::new(tool).with_arguments(arguments)
}

/// The result of a call, as it was on the wire.
async fn call(client: &Client, tool: &'static str, arguments: Value) -> Result<Value, Failure> {
    let result = client.call_tool(request(tool, arguments)).await?;
    Ok(serde_json::to_value(result)?)
}

async fn echoes(client: &Client, text: &str) -> Result<(), Failure> {
    let said = call(client, "echo", json!({ "text": text })).await?;
    equal(said["content"][0]["text"].as_str() == Some(text), true)
}

async fn until_active(client: &Client, wanted: u64) -> Result<(), Failure> {
    loop {
        let status = call(client, "status", json!({})).await?;
        if status["structuredContent"]["active"] == wanted {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn equal<T: PartialEq + std::fmt::Debug>(got: T, wanted: T) -> Result<(), Failure> {
    match got == wanted {
        true => Ok(()),
        false => Err(format!("got {got:?}, wanted {wanted:?}").into()),
    }
}

/// Counts the steps as they end.
#[derive(Default)]
struct Report {
    passed: usize,
    failed: usize,
}

impl Report {
    async fn step(&mut self, name: &str, run: impl Future<Output = Result<(), Failure>>) {
        let ended = tokio::time::timeout(STEP, run).await;
        match ended.unwrap_or_else(|_| Err("it does not end".into())) {
            Ok(()) => {
                self.passed += 1;
                println!("rmcp, {name}: passed");
            }
            Err(failure) => {
                self.failed += 1;
                println!("rmcp, {name}: FAILED ({failure})");
            }
        }
    }

    async fn all(&mut self, wire: &str, client: &Client, hears: &Hears) {
        self.step(&format!("{wire}: lists"), async {
            let tools = client.list_all_tools().await?;
            equal(tools.iter().any(|tool| tool.name == "echo"), true)
        })
        .await;
        self.step(&format!("{wire}: echoes unicode"), echoes(client, ODD))
            .await;
        let large = "0123456789abcdé\n".repeat(62_500);
        self.step(
            &format!("{wire}: echoes a megabyte"),
            echoes(client, &large),
        )
        .await;
        self.step(&format!("{wire}: sees progress"), async {
            let said = call(client, "progress", json!({ "n": 3, "delay_ms": 400 })).await?;
            equal(said["isError"] == true, false)?;
            equal(
                hears.0.lock().expect("nothing panics here").clone(),
                vec![1.0, 2.0, 3.0],
            )
        })
        .await;
        self.step(&format!("{wire}: reads an error"), async {
            let said = call(client, "sleep", json!({ "ms": "soon" })).await?;
            let text = said["content"][0]["text"].as_str().unwrap_or_default();
            equal(
                (said["isError"] == true, text.contains("at `/ms`")),
                (true, true),
            )
        })
        .await;
        self.step(&format!("{wire}: reads a resource"), async {
            let uri = ReadResourceRequestParams::new("test://static-text");
            let read = serde_json::to_value(client.read_resource(uri).await?)?;
            equal(read["contents"][0]["text"].is_string(), true)
        })
        .await;
        self.step(&format!("{wire}: cancels"), async {
            let sleep = CallToolRequest::new(request("sleep", json!({ "ms": 60_000 })));
            let sleep = ClientRequest::CallToolRequest(sleep);
            let options = PeerRequestOptions::no_options();
            let handle = client.send_cancellable_request(sleep, options).await?;
            until_active(client, 1).await?;
            handle.cancel(Some("enough".into())).await?;
            until_active(client, 0).await
        })
        .await;
    }
}

/// A server on HTTP, killed when it is dropped.
struct Served(Child, String);

impl Served {
    fn start(binary: &str, address: &str) -> Result<Self, Failure> {
        let mut server = Command::new(binary);
        let mut server = server
            .args(["--http", address])
            .stderr(Stdio::piped())
            .spawn()?;
        let said = server.stderr.take().ok_or("stderr is piped")?;
        let mut lines = BufReader::new(said).lines();
        let url = lines.find_map(|line| Some(line.ok()?.strip_prefix("listening on ")?.to_owned()));
        // Read to its end, or a talkative server blocks on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Served(server, url.ok_or("it did not start")?))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _gone = self.0.kill().and_then(|()| self.0.wait());
    }
}

async fn run(binary: &str) -> Result<Report, Failure> {
    let mut report = Report::default();
    let mut server = tokio::process::Command::new(binary);
    server.arg("--stdio");
    let hears = Hears::default();
    let client = hears.clone().serve(TokioChildProcess::new(server)?).await?;
    report.all("stdio", &client, &hears).await;
    client.cancel().await?;

    let server = Served::start(binary, "127.0.0.1:0")?;
    let hears = Hears::default();
    let http = StreamableHttpClientTransport::from_uri(server.1.as_str());
    let client = hears.clone().serve(http).await?;
    report.all("http", &client, &hears).await;
    let address = server
        .1
        .trim_start_matches("http://")
        .trim_end_matches("/mcp")
        .to_owned();
    drop(server);
    let _server = Served::start(binary, &address)?;
    report
        .step("http: goes on after a restart", echoes(&client, ODD))
        .await;
    Ok(report)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(binary) = std::env::args().nth(1) else {
        eprintln!("usage: client-rmcp EVERYTHING");
        return ExitCode::from(2);
    };
    match run(&binary).await {
        Ok(Report { passed, failed }) => {
            println!("{passed} passed, {failed} failed");
            ExitCode::from(u8::from(failed > 0))
        }
        Err(failure) => {
            println!("rmcp: FAILED ({failure})");
            ExitCode::FAILURE
        }
    }
}
