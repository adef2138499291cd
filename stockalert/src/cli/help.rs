//! The text of `stockalert --help`.

/// clap knows no groups of commands; a test keeps this list complete.
pub(super) const HELP: &str = "\
{about}

{usage-heading} {usage}

Start here:
  up            Run everything in this process: no server, no account; `up --demo` shows it
  register      Register with an e-mail address

Rules and prices:
  rule          Add, import, preview, list, edit, snooze and remove rules
  watch         Watch prices, open breaches and new alerts until Ctrl-C
  alerts        List past alerts
  deliveries    List the messages that were planned and sent, and why others were not
  price         Show the latest price of a ticker
  average       Show the mean price of a ticker
  quotes        List recorded prices of a ticker
  candles       List open, high, low and close of a ticker by parts of time
  tickers       List tickers with their latest prices
  status        Show how prices come in, and which were counted anew lately

Your account:
  settings      Show or change the time between reminders and the e-mail address
  link          Get a new link that connects a Telegram chat
  test-alert    Send a made-up alert to your Telegram chat
  token         Replace or revoke the API token
  user          Delete your account

For operators, with the operator token:
  admin         List users, see what waits, publish rules again, revoke a token

For operators, with Kafka and not the server:
  dead-letters  List, show and replay records that the services could not handle
  feed          Publish quotes for a load test, made up or from a file

This program:
  completions   Print what makes your shell complete commands

Options:
{options}

Examples:
  stockalert up --demo
  stockalert register ada@example.org --rule AAPL:170:200
  stockalert rule add MSFT --high 450 --note \"sell half\"
  stockalert rule list
  stockalert average AAPL --window 1h
  stockalert alerts --limit 5 --json
{after-help}";

pub(super) const EXIT_CODES: &str = "\
Exit codes:
   0  done
  64  the command line makes no sense
  65  the server refused what was given
  66  there is no such thing, or it is not yours
  69  the server does not answer
  70  the server or this program failed
  74  a file or the output could not be read or written
  77  no token, or not a valid one";
