//! A server that speaks the API of S3 and is nobody's work here: moto's.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use super::patience::eventually;
use super::world::{World, finish};

/// A running server, which keeps everything in memory; dropping it ends it.
pub(crate) struct Moto {
    child: Child,
    address: SocketAddr,
    key_id: String,
    secret: String,
    log: PathBuf,
}

impl Moto {
    /// Starts one that lets everybody do everything.
    #[track_caller]
    pub(crate) fn start(world: &World) -> Self {
        Self::begin(world, u32::MAX)
    }

    /// Starts one that looks at signatures as Amazon's own client makes them, and knows one user.
    #[track_caller]
    pub(crate) fn strict(world: &World) -> Self {
        let mut server = Self::begin(world, IAM_ACTIONS);
        let made = server.python(world, MAKE_USER);
        [server.key_id, server.secret] =
            ["id", "secret"].map(|name| made[name].as_str().expect("a text").to_owned());
        server
    }

    fn begin(world: &World, unchecked: u32) -> Self {
        let log = world.fresh("moto-log");
        let output = fs::File::create(&log).expect("make a log file");
        let mut command = world.command(world.path(), programs().join("moto_server"));
        command
            .args(["--host", "127.0.0.1", "--port", "0"])
            .env("INITIAL_NO_AUTH_ACTION_COUNT", unchecked.to_string())
            .stdout(output.try_clone().expect("share the log file"))
            .stderr(output)
            .process_group(0);
        let child = command.spawn().expect("start moto_server");
        let mut server = Self {
            child,
            address: ([127, 0, 0, 1], 0).into(),
            key_id: "AKIAGANNET".to_owned(),
            secret: "a/secret+of=test".to_owned(),
            log,
        };
        server.address = eventually(READY, || {
            let log = server.log();
            let said = log.split_once("Running on http://127.0.0.1:").map(|(_, rest)| rest);
            let port = said.and_then(|rest| rest.split_once('\n')?.0.trim().parse().ok());
            port.map(|port: u16| ([127, 0, 0, 1], port).into()).ok_or(log)
        });
        server
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// In whose name to ask it: the variables that git-annex reads, and we do.
    pub(crate) fn environment(&self) -> [(&str, &str); 2] {
        [("AWS_ACCESS_KEY_ID", &self.key_id), ("AWS_SECRET_ACCESS_KEY", &self.secret)]
    }

    /// What it was asked for so far, and what it answered.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Lets Amazon's own client make a bucket.
    #[track_caller]
    pub(crate) fn make_bucket(&self, world: &World, bucket: &str) {
        self.python(world, &format!("s3.create_bucket(Bucket='{bucket}')\nresult = None"));
    }

    /// What is in a bucket: names, sizes, and what objects were stored with.
    #[track_caller]
    pub(crate) fn objects(&self, world: &World, bucket: &str) -> Value {
        self.python(world, &LIST.replace("BUCKET", bucket))
    }

    /// Runs lines that use Amazon's own client `s3`, and returns their `result`.
    #[track_caller]
    pub(crate) fn python(&self, world: &World, lines: &str) -> Value {
        let mut command = world.command(world.path(), programs().join("python3"));
        let url = format!("http://{}", self.address);
        let script = format!("{CLIENT}\n{lines}\nprint(json.dumps(result))");
        command.envs(self.environment()).args(["-c", &script, &url]);
        let said = finish(&mut command, READY).expect_ok();
        serde_json::from_str(&said).expect("a result")
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It has nothing to put in order.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            eprintln!("the log of moto:\n{}", self.log());
        }
    }
}

fn programs() -> PathBuf {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/moto/bin");
    assert!(
        place.join("moto_server").exists(),
        "no moto in `{}`; run: cargo xtask moto",
        place.display(),
    );
    place
}

const CLIENT: &str = "\
import boto3, json, sys
from botocore.config import Config
def client(kind):
    path = Config(s3={'addressing_style': 'path'})
    return boto3.client(kind, endpoint_url=sys.argv[1], region_name='us-east-1', config=path)
s3 = client('s3')";

/// As many requests as the server lets pass before it looks at signatures.
const IAM_ACTIONS: u32 = 3;
const MAKE_USER: &str = "\
iam = client('iam')
iam.create_user(UserName='gannet')
key = iam.create_access_key(UserName='gannet')['AccessKey']
everything = {'Effect': 'Allow', 'Action': '*', 'Resource': '*'}
policy = json.dumps({'Version': '2012-10-17', 'Statement': [everything]})
iam.put_user_policy(UserName='gannet', PolicyName='all', PolicyDocument=policy)
result = {'id': key['AccessKeyId'], 'secret': key['SecretAccessKey']}";

const LIST: &str = "\
def look(name):
    head = s3.head_object(Bucket='BUCKET', Key=name)
    shown = {'size': head['ContentLength'], 'class': head.get('StorageClass'), 'metadata': head['Metadata']}
    return shown | {'parts': head['ETag'].strip('\"').partition('-')[2]}
result = {it['Key']: look(it['Key']) for it in s3.list_objects_v2(Bucket='BUCKET').get('Contents', [])}
assert 'Uploads' not in s3.list_multipart_uploads(Bucket='BUCKET'), 'an upload was not ended'";

const READY: Duration = Duration::from_secs(60);
