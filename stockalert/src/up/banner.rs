use super::data_folder::DataFolder;
use super::demo::{self, DemoUser};
use super::settings::Settings;
use crate::failure::Failure;
use crate::screen::{Screen, Style};
use crate::table::{Cell, Table};

/// What people want to know who just started everything.
pub(super) struct Facts<'a> {
    pub settings: &'a Settings,
    pub folder: &'a DataFolder,
    pub server: String,
}

impl Facts<'_> {
    pub(super) fn print(&self) -> Result<(), Failure> {
        let screen = Screen::detect(false);
        let program = program();
        let mut text = self.head(&screen);
        text.push_str(&format!(
            "In another terminal:\n  {}{program} register YOU@EXAMPLE.ORG --rule AAPL:170:200\n\nStop with Ctrl-C.\n",
            self.export_server(),
        ));
        screen.print(&text)
    }

    pub(super) fn print_demo(&self, user: &DemoUser) -> Result<(), Failure> {
        let screen = Screen::detect(false);
        let program = program();
        let mut text = self.head(&screen);
        let mut rules = Table::new(["TICKER", ">LOW", ">HIGH"]);
        for rule in &user.rules {
            rules.row([
                Cell::styled(&rule.ticker, Style::Strong),
                rule.low.as_deref().unwrap_or_default().into(),
                rule.high.as_deref().unwrap_or_default().into(),
            ]);
        }
        text.push_str(&format!(
            "A demo user wants to hear when a price reaches LOW or HIGH, again every {} while it stays there, and once\n\
             when it is back. The messages that Telegram would bring appear below, the first within 30 seconds.\n\n{}\n",
            demo::reminder_text(),
            screen.render(&rules),
        ));
        text.push_str(&format!(
            "In another terminal:\n  export STOCKALERT_SERVER={} STOCKALERT_TOKEN={}\n  {program} watch\n  {program} \
             rule list\n  {program} rule add TSLA --low 100 --high 500\n  {program} price AAPL\n\nStop with Ctrl-C.\n",
            self.server, user.api_token,
        ));
        screen.print(&text)
    }

    fn head(&self, screen: &Screen) -> String {
        let settings = self.settings;
        let data = match (
            self.folder.is_temporary(),
            settings.database.database_url.starts_with("sqlite:"),
        ) {
            (true, _) => format!("{} (deleted at the end)", self.folder.path().display()),
            (false, true) => self.folder.path().display().to_string(),
            (false, false) => "the database that DATABASE_URL names".to_owned(),
        };
        let log = if settings.log_is_embedded {
            "inside this process"
        } else {
            "the Kafka that was named"
        };
        let messages = if settings.telegram.bot_token.is_some() {
            "to Telegram"
        } else {
            "to this terminal"
        };
        let interval = humantime::format_duration(settings.poll_interval());
        let title = screen.paint("Stock Alerts is running, all in this process.", Style::Strong);
        let prices = format!("{:?}, every {interval}", settings.source.quote_provider).to_lowercase();
        format!(
            "\n{title}\n\n  API       {} (gRPC)\n  Prices    {prices}\n  Messages  {messages}\n  Data      {data}\n  \
             Log       {log}\n\n",
            self.server
        )
    }

    fn export_server(&self) -> String {
        if self.server == crate::client::DEFAULT_SERVER {
            String::new()
        } else {
            format!("export STOCKALERT_SERVER={}\n  ", self.server)
        }
    }
}

/// How this program was called, so that the commands can be copied.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "stockalert".to_owned())
}
