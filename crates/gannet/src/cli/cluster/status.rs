//! `gannet cluster status`.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use gannet::gateway::setup::Problem;
use gannet::gateway::status::{self, Answer, ClusterStatus, NodeStatus};
use gannet::gateway::{Bounds, Gateway};
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::{at, plain, print};
use crate::cli::Failure;

/// What `gannet cluster status` is told.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(crate) struct Status {
    /// The repository.
    #[arg(value_name = "REPO")]
    path: PathBuf,
    /// Print one JSON object instead.
    #[arg(long)]
    json: bool,
    /// Wait no longer than this for the answer of a node. All are asked at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..))]
    timeout: u32,
}

impl Status {
    /// Looks, and tells.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let (patience, json) = (Duration::from_secs(self.timeout.into()), self.json);
        let told = at(&self.path, async |repo| {
            let status = Gateway::new(repo, Bounds::default()).status(patience).await;
            let status = status.map_err(|error| Failure::doing("cannot look", &error))?;
            print(&if json { format!("{}\n", as_json(&status)) } else { as_text(&status) })?;
            let is_fine = |it: &ClusterStatus| it.problems.is_empty();
            let fine = status.problems.is_empty() && status.clusters.iter().all(is_fine);
            Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        });
        told.map_err(Failure::grave)
    }
}

fn as_text(status: &status::Status) -> String {
    let mut lines = Vec::new();
    for cluster in &status.clusters {
        let ClusterStatus { name, cluster, nodes, problems, served } = cluster;
        let served = if *served { "" } else { ", not served" };
        lines.push(format!("{name} ({}{served})", cluster.as_uuid()));
        lines.extend(nodes.iter().map(|node| format!("  {}", node_as_text(node))));
        lines.extend(problems.iter().flat_map(|problem| problem_as_text("  ", problem)));
    }
    if status.clusters.is_empty() {
        lines.push("it is not the gateway of any cluster".to_owned());
    }
    lines.extend(status.problems.iter().flat_map(|problem| problem_as_text("", problem)));
    lines.into_iter().map(|line| plain(&line) + "\n").collect()
}

fn node_as_text(node: &NodeStatus) -> String {
    let NodeStatus { name, uuid, behind, cost, read_only, answer, max_size, size } = node;
    let mut line = if name.is_empty() { "?".to_owned() } else { name.clone() };
    // A string takes whatever is written to it.
    let mut add = |part: std::fmt::Arguments<'_>| line.write_fmt(part).unwrap_or_default();
    if let Some(uuid) = uuid {
        add(format_args!(" ({uuid})"));
    }
    add(format_args!(
        ": {}",
        match answer {
            Some(Ok(_)) => "reached",
            Some(Err(_)) => "not reached",
            None => "not asked",
        }
    ));
    if let Some(gateway) = behind {
        add(format_args!(", behind {gateway}"));
    }
    if let Some(cost) = cost {
        add(format_args!(", cost {cost}"));
    }
    if *read_only {
        add(format_args!(", readonly"));
    }
    let Answer { version, free } = answer.clone().and_then(Result::ok).unwrap_or_default();
    if let Some(version) = version {
        add(format_args!(", protocol version {version}"));
    }
    if let Some(free) = free {
        add(format_args!(", {} free", HumanBytes(free)));
    }
    if let Some(max) = max_size {
        let size = HumanBytes(size.unwrap_or_default());
        add(format_args!(", holds {size} of at most {}", HumanBytes(*max)));
    }
    line
}

fn problem_as_text(before: &str, problem: &Problem) -> [String; 2] {
    let Problem { about, what, advice } = problem;
    [format!("{before}! {about}: {what}"), format!("{before}    {advice}")]
}

fn as_json(status: &status::Status) -> Value {
    let problem = |problem: &Problem| {
        let Problem { about, what, advice } = problem;
        json!({ "about": about, "what": what, "advice": advice })
    };
    let cluster = |it: &ClusterStatus| {
        json!({
            "name": it.name,
            "uuid": it.cluster.as_uuid().as_str(),
            "served": it.served,
            "nodes": it.nodes.iter().map(node_as_json).collect::<Vec<_>>(),
            "problems": it.problems.iter().map(problem).collect::<Vec<_>>(),
        })
    };
    json!({
        "clusters": status.clusters.iter().map(cluster).collect::<Vec<_>>(),
        "problems": status.problems.iter().map(problem).collect::<Vec<_>>(),
    })
}

fn node_as_json(node: &NodeStatus) -> Value {
    let answer = node.answer.as_ref();
    let told = answer.and_then(|answer| answer.as_ref().ok());
    json!({
        "name": node.name,
        "uuid": node.uuid.as_ref().map(|uuid| uuid.as_str()),
        "behind": node.behind,
        "cost": node.cost,
        "readonly": node.read_only,
        "reached": answer.map(Result::is_ok),
        "error": answer.and_then(|answer| answer.as_ref().err()),
        "version": told.and_then(|told| told.version),
        "free": told.and_then(|told| told.free),
        "maxsize": node.max_size,
        "size": node.size,
    })
}

const AFTER: &str = "\
Exit codes:
  0  all is well
  1  something is wrong; each problem is told, and what to do about it
  2  the repository could not be looked at

With --json the object has the members `clusters` and `problems`, these for what belongs to no \
cluster. A problem has `about`, `what` and `advice`. A cluster has `name`, `uuid`, `served`, `problems` \
and `nodes`; a node `name`, `uuid`, `behind` (the remote of the other gateway through which it is \
reached), `cost`, `readonly`, `reached` (null: it was not asked), `error`, `version` (of the protocol), \
`free`, `maxsize` and `size`, these in bytes.";
