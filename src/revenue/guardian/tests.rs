//! Tests of the Guardian as a whole: built-in rules, rules of a file, and their exchange.

use serde_json::{Value, json};

use super::condition::VALUES_MAX;
use super::rules::CONDITIONS_MAX;
use super::*;
use crate::revenue::rows::Severity;
use crate::telemetry::json_line::captured::logged;

const NOW: i64 = 1_767_225_600;

fn invoice() -> Value {
    json!({
        "id": "evt_1", "object": "event", "type": "invoice.paid", "created": NOW, "livemode": true,
        "data": {"object": {"id": "in_1", "object": "invoice", "customer": "cus_1", "currency": "cad", "livemode": true,
            "amount_paid": 1500, "status": "paid", "metadata": {"note": "L'Été d'Émile — s'il vous plaît; merci"}}}
    })
}

fn subscription(price: &str, tier: &str) -> Value {
    json!({
        "id": "evt_2", "object": "event", "type": "customer.subscription.updated", "created": NOW, "livemode": true,
        "data": {"object": {"id": "sub_1", "object": "subscription", "status": "active", "metadata": {"tier": tier},
            "items": {"data": [{"price": {"id": price}}]}}}
    })
}

fn look(guardian: &Guardian, value: &Value) -> Review {
    let body = value.to_string();
    let event = Event::parse(body.as_bytes()).unwrap();
    let tiers = Tiers::new(["silver", "gold"], [("price_s", "silver"), ("price_g", "gold")], None).unwrap();
    let now = Timestamp::from_seconds(NOW);
    let review = guardian.inspect(
        &event,
        Surroundings { body_bytes: body.len(), tiers: &tiers, user_fields: &UserFields::default(), now },
    );
    guardian.count(&event, review.blocking(), &review.decisions);
    review
}

fn with(mut value: Value, pointer: &str, field: &str, to: Value) -> Value {
    value.pointer_mut(pointer).unwrap()[field] = to;
    value
}

fn actions(review: &Review) -> Vec<(&str, Action)> {
    review.decisions.iter().map(|decision| (decision.rule.as_str(), decision.action)).collect()
}

#[test]
fn an_ordinary_event_passes_without_a_word() {
    let guardian = Guardian::default();
    assert_eq!(look(&guardian, &invoice()).decisions, []);
    assert_eq!(look(&guardian, &subscription("price_g", "or")).decisions, []);
    assert_eq!(guardian.counts(), Counts { total: 2, approved: 2, flagged: 0, blocked: 0 });
}

#[test]
fn each_built_in_rule_finds_what_it_is_for() {
    use Action::{Flag, Quarantine};
    let object = "/data/object";
    let mut deep = json!(1);
    for _ in 0..60 {
        deep = json!([deep]);
    }
    let day = 24 * 60 * 60;
    for (value, expected) in [
        (with(invoice(), object, "object", json!("charge")), ("structure", Quarantine)),
        (with(invoice(), object, "id", json!(null)), ("structure", Quarantine)),
        (with(subscription("price_g", "or"), object, "status", json!(7)), ("structure", Quarantine)),
        (with(invoice(), "", "id", json!("event_1")), ("id_form", Quarantine)),
        (with(invoice(), object, "customer", json!("cus_1; x")), ("id_form", Quarantine)),
        (with(invoice(), object, "id", json!("inv-7")), ("id_prefix", Flag)),
        (with(invoice(), object, "livemode", json!(false)), ("livemode", Quarantine)),
        (with(invoice(), "", "created", json!(NOW + 301)), ("event_age", Flag)),
        (with(invoice(), "", "created", json!(NOW - 36 * day)), ("event_age", Flag)),
        (subscription("price_s", "gold"), ("price_tier", Flag)),
        (subscription("price_x", "gold"), ("price_unknown", Flag)),
        (with(invoice(), "/data/object/metadata", "userId", json!("undefined")), ("user_form", Flag)),
        (with(invoice(), object, "amount_paid", json!(15.5)), ("amount_form", Quarantine)),
        (with(invoice(), object, "amount_paid", json!(-1)), ("amount_form", Quarantine)),
        (with(invoice(), object, "amount_paid", json!(100_000_000)), ("amount_max", Flag)),
        (with(invoice(), object, "currency", json!("$")), ("currency_form", Quarantine)),
        (with(invoice(), object, "extra", deep), ("size", Quarantine)),
        (with(invoice(), "/data/object/metadata", "q", json!("' OR 1=1 --")), ("injection_sql", Flag)),
        (with(invoice(), object, "lines", json!({"data": [{"metadata": {"f": "../../x"}}]})), ("injection_path", Flag)),
        (with(invoice(), object, "client_reference_id", json!("<script>")), ("injection_script", Flag)),
    ] {
        assert_eq!(actions(&look(&Guardian::default(), &value)), [expected], "{value}");
    }
}

#[test]
fn what_is_not_mapped_is_not_searched_for_attacks() {
    let page = with(invoice(), "/data/object/metadata", "html", json!("<a onclick=x() href=/>"));
    assert_eq!(actions(&look(&Guardian::default(), &page)), [("injection_script", Action::Flag)]);
    assert_eq!(look(&Guardian::default(), &with(page, "", "type", json!("product.updated"))).decisions, []);
}

#[test]
fn what_people_write_is_flagged_and_holds_nothing_unless_an_operator_says_so() {
    for text in ["<iframe src=https://shop.example/embed>", "SQL course: SELECT * FROM users; DROP TABLE x", "../gold"]
    {
        let value = with(invoice(), "/data/object/metadata", "page", json!(text));
        assert!(look(&Guardian::default(), &value).blocking().is_none(), "{text}");
    }
    let rules = Rules::parse("[builtin.injection_path]\naction = 'quarantine'").unwrap();
    let value = with(invoice(), "/data/object/metadata", "page", json!("../../gold"));
    let review = look(&Guardian::new(rules), &value);
    // The rule is about the content, so the event is still ours.
    assert!(review.blocking().is_some() && review.foreign().is_none(), "{review:?}");
}

#[test]
fn only_what_is_not_ours_or_cannot_be_understood_is_foreign() {
    let test = with(with(invoice(), "", "livemode", json!(false)), "/data/object", "livemode", json!(false));
    let live = Guardian::default().expecting_livemode(true);
    assert_eq!(look(&live, &test).foreign().map(|decision| decision.rule.as_str()), Some("livemode"));
    let rules = "
        [builtin.account]
        allowed = ['acct_1']
        [builtin.currency]
        allowed = ['usd']
        action = 'quarantine'
        severity = 'critical'
    ";
    // Among rules of equal severity, one about the origin goes before one about content.
    let review = look(&Guardian::new(Rules::parse(rules).unwrap()), &invoice());
    assert_eq!(review.foreign().map(|decision| decision.rule.as_str()), Some("account"));
    let review = look(&Guardian::default(), &with(invoice(), "/data/object", "currency", json!("$")));
    assert!(review.blocking().is_some() && review.foreign().is_none(), "{review:?}");
}

#[test]
fn an_amount_that_no_sum_could_hold_is_held_back() {
    use crate::stripe::money::AMOUNT_MAX;
    let of = |amount: i64| look(&Guardian::default(), &with(invoice(), "/data/object", "amount_paid", json!(amount)));
    assert!(of(AMOUNT_MAX).blocking().is_none());
    assert_eq!(of(AMOUNT_MAX + 1).blocking().map(|decision| decision.rule.clone()).as_deref(), Some("amount_form"));
}

#[test]
fn bounds_come_from_the_file() {
    let rules = "
        [builtin.livemode]
        expect = false
        [builtin.account]
        allowed = ['acct_1']
        [builtin.currency]
        allowed = ['USD']
        action = 'quarantine'
        [builtin.amount_max]
        max = 2000
        max_by_currency = { CAD = 1000 }
        [builtin.event_age]
        past_days = 1
        future_seconds = 0
        [builtin.size]
        bytes = 100
    ";
    let review = look(&Guardian::new(Rules::parse(rules).unwrap()), &invoice());
    let found: Vec<&str> = review.decisions.iter().map(|decision| decision.rule.as_str()).collect();
    assert_eq!(found, ["livemode", "account", "amount_max", "currency", "size"]);
}

#[test]
fn the_most_severe_quarantine_decides() {
    let value = with(invoice(), "/data/object", "amount_paid", json!(-1));
    let rules = "
        [[rule]]
        id = 'any'
        action = 'quarantine'
        severity = 'info'
        all = [{ path = 'data.object.id', present = true }]
    ";
    let review = look(&Guardian::new(Rules::parse(rules).unwrap()), &value);
    assert_eq!(
        review.blocking().map(|decision| (decision.rule.as_str(), decision.severity)),
        Some(("amount_form", Severity::Critical))
    );
}

#[test]
fn a_rule_of_the_file_flags_holds_back_and_vouches() {
    let rules = "
        [[rule]]
        id = 'large'
        action = 'quarantine'
        reason = 'an invoice above 10.00'
        types = ['invoice.*']
        all = [{ path = 'data.object.amount_paid', above = 1000 }, { path = 'data.object.currency', equals = 'cad' }]
        [[rule]]
        id = 'friend'
        action = 'allow'
        exempts = ['large', 'injection_sql']
        all = [{ path = 'data.object.customer', one_of = ['cus_friend'] }]
    ";
    let guardian = Guardian::new(Rules::parse(rules).unwrap());
    let held = look(&guardian, &invoice());
    assert_eq!(held.blocking().map(|decision| decision.reason.as_str()), Some("an invoice above 10.00"));
    let friend = with(invoice(), "/data/object", "customer", json!("cus_friend"));
    let friend = with(friend, "/data/object/metadata", "q", json!("' OR 1=1 --"));
    assert_eq!(actions(&look(&guardian, &friend)), [("friend", Action::Allow)]);
    assert_eq!(guardian.counts(), Counts { total: 2, approved: 1, flagged: 0, blocked: 1 });
}

#[test]
fn a_block_is_logged_by_its_phrase_without_customer_data() {
    let value = with(invoice(), "/data/object", "customer_email", json!("lea@exemple.test"));
    let value = with(value, "/data/object/metadata", "note", json!("<script>lea</script>"));
    let guardian = Guardian::new(Rules::parse("[builtin.injection_script]\naction = 'quarantine'").unwrap());
    let (_, text) = logged(|| {
        look(&guardian, &value);
        look(&guardian, &invoice())
    });
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [line] = &lines[..] else { panic!("{text}") };
    assert_eq!(line["message"], "Guardian blocked");
    assert_eq!(line["event_id"], "evt_1");
    assert_eq!(line["rule"], "injection_script");
    assert!(!text.contains("lea") && !text.contains("cus_1"), "{text}");
}

#[test]
fn what_a_rule_only_flags_is_counted_and_named_in_the_log() {
    let rule = "[[rule]]\nid = 'large'\naction = 'flag'\nreason = 'above 10.00'\n\
                all = [{ path = 'data.object.amount_paid', above = 1000 }]";
    let guardian = Guardian::new(Rules::parse(rule).unwrap());
    let (_, text) = logged(|| look(&guardian, &invoice()));
    let line: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&line["message"], &line["level"]), (&json!("Guardian flagged"), &json!("INFO")), "{line}");
    assert_eq!(
        (&line["event_id"], &line["rule"], &line["reason"]),
        (&json!("evt_1"), &json!("large"), &json!("above 10.00"))
    );
    assert_eq!(guardian.counts(), Counts { total: 1, approved: 0, flagged: 1, blocked: 0 });
}

#[test]
fn a_value_of_the_wrong_kind_is_told_in_the_words_of_the_file() {
    let rule = |action: &str, rest: &str| format!("[[rule]]\nid = 'r'\naction = '{action}'\n{rest}");
    for (text, expected) in [
        (rule("flag", "all = [{ path = 'a', above = 'x' }]"), "`above` must be a whole number, such as 100_000"),
        (rule("flag", "all = [{ path = 'a', above = 1.5 }]"), "`above` must be a whole number, such as 100_000"),
        (rule("hold", "all = [{ path = 'a', above = 1 }]"), "`action` must be allow, flag or quarantine, not `hold`"),
        (rule("flag", "severity = 'bad'\nall = []"), "`severity` must be info, warning or critical, not `bad`"),
        (rule("flag", "types = 'invoice.*'"), "`types` must be a list"),
        ("[builtin.livemode]\nexpect = 'yes'".to_owned(), "`expect` must be true or false"),
    ] {
        let error = Rules::parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected} is not in {error}");
    }
}

#[test]
fn a_bad_file_keeps_the_rules_and_says_why() {
    let guardian = Guardian::default();
    guardian.reload("[builtin.livemode]\nexpect = false").unwrap();
    let many = "[[rule]]\nid = 'RULE'\naction = 'flag'\nall = [{ path = 'a', present = true }]\n";
    let many: String = (0..=CUSTOM_RULES_MAX).map(|n| many.replace("RULE", &format!("r{n}"))).collect();
    let rule = |rest: &str| format!("[[rule]]\nid = 'r'\naction = 'flag'\n{rest}");
    for (text, expected) in [
        ("[builtin".to_owned(), "the rules cannot be understood"),
        ("[builtin.nothing]".to_owned(), "there is no built-in rule `nothing`"),
        ("[builtin.size]\nexpect = true".to_owned(), "built-in rule `size` has no setting `expect`"),
        ("[builtin.size]\ncolour = 'red'".to_owned(), "the rules cannot be understood"),
        ("[builtin.account]\nallowed = []".to_owned(), "`allowed` is empty"),
        ("[builtin.amount_max]\nmax = 0".to_owned(), "a largest amount must be above zero"),
        (rule(""), "rule `r` has no conditions"),
        (rule("all = [{ path = 'a' }]"), "rule `r`: path `a` has 0 tests"),
        (rule("all = [{ path = 'a', matches = '(' }]"), "rule `r`: the pattern cannot be used"),
        (rule("all = [{ path = 'a', above = 1 }]\nexempts = ['size']"), "`exempts` needs action `allow`"),
        (rule("all = [{ path = 'a', above = 1 }]").replace("'r'", "'size'"), "rule id `size` is taken"),
        (many, "201 rules; at most 200"),
    ] {
        let error = guardian.reload(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(guardian.reload_file(Path::new("does/not/exist.toml")).is_err());
    assert_eq!(actions(&look(&guardian, &invoice())), [("livemode", Action::Quarantine)]);
}

#[test]
fn rules_have_bounds_of_their_own_and_together() {
    let guardian = Guardian::default();
    let rule = |rest: &str| format!("[[rule]]\nid = 'r'\naction = 'flag'\n{rest}");
    let conditions = |count: usize| rule(&format!("all = [{}]", "{ path = 'a', above = 1 },".repeat(count)));
    let values = |count: usize| rule(&format!("all = [{{ path = 'a', none_of = [{}] }}]", "1,".repeat(count)));
    let long = |bytes: usize| format!("#{}", " ".repeat(bytes - 1));
    for (within, beyond, why) in [
        (conditions(CONDITIONS_MAX), conditions(CONDITIONS_MAX + 1), "rule `r`: 101 conditions; at most 100"),
        (values(VALUES_MAX), values(VALUES_MAX + 1), "rule `r`: path `a` has 10001 values; at most 10000"),
        (long(RULES_BYTES_MAX), long(RULES_BYTES_MAX + 1), "the rules are longer than 1048576 bytes"),
    ] {
        assert!(guardian.read(&within).is_ok(), "{why}");
        let error = guardian.read(&beyond).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let error = guardian.reload_file(Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(error.contains("the rules are longer"), "a file without an end is not read to it: {error}");
}

#[test]
fn a_mistake_in_a_file_is_told_with_its_place() {
    let guardian = Guardian::default();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.toml");
    for (text, line, field) in [
        ("[builtin.size]\ndepth = 30\ncolour = 'red'\n", 3, "colour"),
        ("\n[builtin.amount_max]\nmax = 0\n", 2, "amount_max"),
        ("# rules\n\n[[rule]]\nid = 'r'\naction = 'flag'\nseverity = 'info'\nreason = 'x'\n", 4, "`r`"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = guardian.reload_file(&file).unwrap_err().to_string();
        assert!(error.contains(&format!("rules.toml, line {line}: ")) && error.contains(field), "{error}");
    }
}

#[test]
fn a_good_file_takes_the_place_of_the_rules() {
    let guardian = Guardian::default();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.toml");
    std::fs::write(&file, "[builtin.amount_max]\nmax = 1").unwrap();
    assert!(guardian.reload_file(&file).unwrap());
    assert_eq!(actions(&look(&guardian, &invoice())), [("amount_max", Action::Flag)]);
    assert!(!guardian.reload_file(&file).unwrap(), "the same text is nothing new");
    std::fs::write(&file, "[builtin.no_such_rule]").unwrap();
    assert!(guardian.reload_file(&file).is_err());
    std::fs::write(&file, "").unwrap();
    assert!(guardian.reload_file(&file).unwrap());
    assert_eq!(look(&guardian, &invoice()).decisions, []);
}

#[test]
fn a_configured_mode_holds_over_reloads_unless_the_file_says_otherwise() {
    let guardian = Guardian::default().expecting_livemode(false);
    assert_eq!(actions(&look(&guardian, &invoice())), [("livemode", Action::Quarantine)]);
    guardian.reload("[builtin.size]\ndepth = 30").unwrap();
    assert_eq!(actions(&look(&guardian, &invoice())), [("livemode", Action::Quarantine)]);
    guardian.reload("[builtin.livemode]\nexpect = true").unwrap();
    assert_eq!(look(&guardian, &invoice()).decisions, []);
}

#[test]
fn the_rules_may_change_while_events_are_looked_at() {
    let guardian = Guardian::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..200 {
                guardian.reload(&format!("[builtin.amount_max]\nmax = {n}")).unwrap();
            }
        });
        for _ in 0..200 {
            assert!(look(&guardian, &invoice()).blocking().is_none());
        }
    });
    assert_eq!(guardian.counts().total, 200);
}
