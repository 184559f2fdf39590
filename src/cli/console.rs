//! `console`: a link that opens the console of a running gateway in a browser.

use std::io::Write as _;
use std::process::ExitCode;

use crate::admin::wire::LoginCode;
use crate::cli::admin::{AdminClient, local, runs_at};
use crate::config::Sources;

pub const NOTES: &str = "The link works once, within a minute, and logs you in as the operator whose token is in GATEWAY_ADMIN_TOKEN. For a gateway
on another machine, forward its admin listener to this machine first, then name it with --admin:
  ssh -L 9090:127.0.0.1:9090 HOST
  kubectl port-forward statefulset/colony-gateway 9090";

/// Arguments of `console`.
#[derive(Clone, Debug, clap::Args)]
pub struct ConsoleArgs {
    /// Address of the gateway's admin listener, as a browser here reaches it.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
}

pub async fn run(args: ConsoleArgs, sources: &Sources) -> anyhow::Result<ExitCode> {
    let config = crate::cli::tools(sources)?;
    let client = if let Some(url) = &args.admin {
        AdminClient::at(url, &config)?
    } else {
        let address = local(config.http.admin_listen);
        anyhow::ensure!(
            config.http.admin_token.is_some(),
            "set GATEWAY_ADMIN_TOKEN to the token of the gateway at {address}{}",
            if runs_at(config.http.admin_listen).await { "" } else { ", and start it: nothing answers there" }
        );
        AdminClient::new(&config)?
    };
    let code: LoginCode = client.post("/admin/console/codes", &()).await?;
    writeln!(std::io::stdout(), "{}", client.url(&code.path))?;
    Ok(ExitCode::SUCCESS)
}
