//! `rosterd events`: the journal, and with `--follow` what happens next.

use serde_json::Value;

use super::ask::{Daemon, rows, text};
use super::{Context, Exit, Failure, Paint, printable};
use crate::client::{Answer, ClientError, Events, Follow};
use crate::clock::Duration;
use crate::wire::words;

/// How long one request waits for something to happen.
const WAIT: &str = "30s";
/// Between attempts to reach a daemon that is not there.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Go on with what happens next, also over restarts of the daemon
    #[arg(long, short)]
    follow: bool,
    /// Start after this seq, instead of with the oldest event (with --follow:
    /// the newest ten)
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// At most so many events
    #[arg(long)]
    limit: Option<u64>,
    #[command(flatten)]
    filter: Filters,
}

/// Several of one kind are separated by commas, or the option is repeated.
#[derive(Debug, clap::Args)]
struct Filters {
    /// Only events of these types, like `user.*` or `group.user_added`
    #[arg(long = "type", value_name = "GLOB", value_delimiter = ',')]
    types: Vec<String>,
    /// Only events of these directories
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    directory: Vec<String>,
    /// Only events of directories of these tenants
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    tenant: Vec<String>,
    /// Only events of directories of these products
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    product: Vec<String>,
}

impl Arguments {
    /// What is asked for again and again.
    fn follow(&self) -> Follow {
        Follow {
            wait: self.follow.then(|| WAIT.to_owned()),
            types: self.filter.types.clone(),
            directories: self.filter.directory.clone(),
            tenants: self.filter.tenant.clone(),
            products: self.filter.product.clone(),
            ..Follow::default()
        }
    }
}

pub(super) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, Failure> {
    let daemon = Daemon::of(context)?;
    let mut after = match (arguments.after, arguments.follow) {
        (Some(after), _) => Some(after),
        (None, true) => Some(newest(&daemon)?.saturating_sub(10)),
        (None, false) => None,
    };
    let mut left = arguments.limit.unwrap_or(u64::MAX);
    let mut follow = arguments.follow();
    while left > 0 {
        (follow.after, follow.limit) = (Some(after.unwrap_or(0)), Some(left.min(1_000)));
        let page = match daemon.wait(daemon.client.events(&follow)) {
            Ok(page) => page,
            Err(ClientError::Refused { status: 410, problem, .. })
                if arguments.after.is_none() && problem.get("oldest").is_some() =>
            {
                after = problem.get("oldest").and_then(Value::as_u64).map(|seq| seq - 1);
                continue;
            }
            Err(ClientError::Unreachable { .. } | ClientError::Unreadable(_))
                if arguments.follow && after.is_some() =>
            {
                std::thread::sleep(RETRY);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        show_all(context, &page)?;
        // Past the last one shown, where the events behind it are filtered out.
        after = Some(page.seq);
        left = left.saturating_sub(page.events.len() as u64);
        if page.next_cursor.is_none() && !arguments.follow {
            break;
        }
    }
    Ok(Exit::Yes)
}

fn newest(daemon: &Daemon) -> Result<u64, Failure> {
    Ok(daemon.wait(daemon.client.directories())?.seq)
}

fn show_all(context: &mut Context, page: &Answer<Events>) -> Result<(), Failure> {
    rows(page.json(), "events").iter().try_for_each(|event| show(context, event))
}

/// `2026-11-20T10:15:00Z  812  corp  user ada (u1) joined group Engineering (g1)`
fn show(context: &mut Context, event: &Value) -> Result<(), Failure> {
    let output = &mut context.output;
    if output.is_json() {
        output.json(event)?;
        return Ok(());
    }
    let time = output.paint(Paint::Faint, &text(event, "occurred_at"));
    let seq = output.paint(Paint::Faint, &format!("{:>6}", text(event, "seq")));
    let directory = output.paint(Paint::Strong, &text(event, "directory"));
    let sentence = words::sentence(event);
    output.line(&format!("{time} {seq}  {directory}  {}", printable(&sentence)))?;
    Ok(())
}
