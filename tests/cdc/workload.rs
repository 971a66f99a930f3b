//! Tables, and statements that change them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use heddle_fixtures::postgres::Postgres;
use serde_json::Value;

/// Tables of a shop, one with a column of each awkward type, and one for marks: a row of it says how far Debezium is.
pub(super) const TABLES: &str = r#"
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, email text);
CREATE TABLE orders (
  id bigint PRIMARY KEY, customer_id int NOT NULL, amount numeric(10,2) NOT NULL, currency char(3) NOT NULL,
  status text NOT NULL DEFAULT 'open', placed_at timestamptz NOT NULL);
CREATE TABLE currencies (code char(3) PRIMARY KEY, name text NOT NULL, rate numeric NOT NULL DEFAULT 1.25);
INSERT INTO currencies VALUES ('EUR', 'Euro', 1.25), ('USD', 'US dollar', 1), ('CHF', 'Swiss franc', 0.9);
CREATE TYPE colour AS ENUM ('red', 'green', 'deep blue');
CREATE DOMAIN percent AS numeric(5,2) CHECK (VALUE BETWEEN 0 AND 100);
CREATE TABLE kinds (
  id int, part uuid, PRIMARY KEY (id, part),
  exact numeric(12,4) NOT NULL DEFAULT -1.5, wide numeric(38,10), plain numeric, plain_default numeric NOT NULL DEFAULT 3.14,
  plain_maybe numeric DEFAULT -0.007, share percent, price money, small smallint NOT NULL DEFAULT -7, big bigint DEFAULT 9007199254740993,
  single real, twice double precision, flag boolean NOT NULL DEFAULT true, bits bit(10), bit1 bit(1), varbits bit varying(9),
  at timestamp, at3 timestamp(3), at_default timestamp NOT NULL DEFAULT '2026-01-02 03:04:05.678901', zoned timestamptz,
  day date, day_default date NOT NULL DEFAULT '1969-12-31', clock time, clock3 time(3), clock_zoned timetz, span interval,
  doc jsonb, doc_default jsonb NOT NULL DEFAULT '{"a": [1, null]}', text_doc json, page xml, raw bytea, raw_default bytea DEFAULT '\x00ff',
  shade colour, shade_default colour NOT NULL DEFAULT 'deep blue', letter char(1), code varchar(5) NOT NULL DEFAULT 'grüße',
  tags text[], numbers int[] NOT NULL DEFAULT '{1,2}', amounts numeric(8,2)[], days date[], shades colour[],
  address inet, network cidr, place point, during int4range, span_zoned tstzrange, "odd-name" text, "Größe" int, "class" text, "2nd" int);
CREATE TABLE marks (id int PRIMARY KEY);
"#;

/// Values for each of the types, and as few as can be.
pub(super) const KINDS: &str = r#"
INSERT INTO kinds (id, part) VALUES (1, '0f8fad5b-d9cb-469f-a165-70867728950e');
INSERT INTO kinds VALUES (2, '7c9e6679-7425-40de-944b-e07fc1f90ae7', 99999999.9999, -1234567890123456789012345678.0123456789, 123.0456, 0, 1e30,
  12.5, '$1,234.56', 32767, -9223372036854775808, 'NaN', '-Infinity', false, B'1010101010', B'1', B'101',
  '1969-12-31 23:59:59.999999', '2026-03-01 12:00:00.125', 'infinity', '2026-03-01 12:00:00.5+02', '2026-02-28', '0001-01-01',
  '23:59:59.999999', '00:00:00.001', '12:30:00.25+05:30', '1 year 2 mons 3 days 04:05:06.789', '{"z": "ü", "n": 1e2}', '[]', '{"a":1}', '<a>&amp;</a>',
  '\xdeadbeef', '', 'red', 'green', 'x', 'ß', '{a,NULL,"b,c"}', '{}', '{1.10,NULL}', '{2026-01-01}', '{red,"deep blue"}',
  '10.0.0.1/8', '10.0.0.0/8', '(1.5,-2)', '[1,5)', '["2026-01-01 00:00+00",)', 'odd', 180, 'c', 2);
UPDATE kinds SET plain = 12345678901234567890.123456789, at = NULL, tags = NULL, price = NULL WHERE id = 2;
UPDATE kinds SET part = '00000000-0000-0000-0000-000000000000' WHERE id = 1;
DELETE FROM kinds WHERE id = 2;
"#;

/// The form of rows in the component's stores and outputs, as JSON.
const ORDER: &str = r#"'id', o.id, 'customer_id', o.customer_id, 'amount', o.amount::text, 'currency', o.currency, 'status', o.status, 'placed_at', to_char(o.placed_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#;

/// The final content of the tables.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// The join, by `<customer>/<order>`.
    pub(super) joined: BTreeMap<String, Value>,
    /// The join with the names of the currencies.
    pub(super) named: BTreeMap<String, Value>,
    pub(super) orders: BTreeMap<String, Value>,
    pub(super) customers: BTreeMap<String, Value>,
}

impl Expected {
    /// Asks the database.
    pub(super) fn of(postgres: &Postgres) -> Self {
        let rows = |key: &str, value: &str, from: &str| {
            let lines =
                postgres.sql(&format!("SELECT json_build_array({key}, json_build_object({value})) FROM {from};"));
            lines.iter().map(|line| serde_json::from_str::<(String, Value)>(line).unwrap()).collect()
        };
        let customer = "'name', c.name, 'email', c.email";
        let both = format!("{}, 'customer', c.name, 'email', c.email", ORDER.replacen("'id'", "'order_id'", 1));
        let named = "'order_id', o.id, 'customer', c.name, 'amount', o.amount::text, 'currency', k.name";
        let (key, join) = ("c.id || '/' || o.id", "orders o JOIN customers c ON c.id = o.customer_id");
        Self {
            joined: rows(key, &both, join),
            named: rows(key, named, &format!("{join} JOIN currencies k ON k.code = o.currency")),
            orders: rows("o.id::text", ORDER, "orders o"),
            customers: rows("c.id::text", customer, "customers c"),
        }
    }
}

/// A stream of statements that look random and are the same in every run.
pub(super) struct Workload {
    state: u64,
    customers: u64,
    orders: u64,
    /// The columns that the tables have at this time beyond the first ones.
    pub(super) more: &'static str,
}

impl Workload {
    pub(super) fn new(customers: u64, orders: u64) -> Self {
        Self { state: 7, customers, orders, more: "" }
    }

    /// A number below `bound`: splitmix64.
    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }

    /// The next statements, some of them several in one transaction.
    pub(super) fn statements(&mut self, count: usize) -> String {
        let mut text = String::new();
        for _ in 0..count {
            match self.below(20) {
                0 => {
                    let _ = writeln!(text, "BEGIN; {} {} {} COMMIT;", self.one(), self.one(), self.one());
                }
                1 => {
                    let _ = writeln!(text, "BEGIN; {} {} ROLLBACK;", self.one(), self.one());
                }
                _ => {
                    let _ = writeln!(text, "{}", self.one());
                }
            }
        }
        text
    }

    fn one(&mut self) -> String {
        let (customer, order) = (1 + self.below(self.customers), 1 + self.below(self.orders));
        let (other, number) = (1 + self.below(self.customers), self.below(100_000));
        let amount = format!("{}.{:02}", number / 100, number % 100);
        let currency = ["EUR", "USD", "CHF"][self.below(3) as usize];
        let placed = format!("2026-01-{:02} 10:00:00.{:06}+00", 1 + self.below(28), 1 + 10 * number);
        match self.below(100) {
            0..25 => format!(
                "INSERT INTO orders VALUES ({order}, {customer}, {amount}, '{currency}', DEFAULT, '{placed}') ON CONFLICT DO NOTHING;"
            ),
            25..45 => format!("UPDATE orders SET amount = {amount}, status = 'paid' WHERE id = {order};"),
            45..57 => format!("UPDATE orders SET customer_id = {customer} WHERE id = {order};"),
            57..68 => format!("DELETE FROM orders WHERE id = {order};"),
            68..78 => format!(
                "INSERT INTO customers VALUES ({customer}, 'name {number}', 'c{customer}@example.com') ON CONFLICT DO NOTHING;"
            ),
            78..86 => format!("UPDATE customers SET name = 'Ñame {number}', email = NULL WHERE id = {customer};"),
            86..91 => format!("DELETE FROM customers WHERE id = {customer};"),
            91..94 => format!(
                "UPDATE orders SET id = {order} WHERE id = {} AND NOT EXISTS (SELECT FROM orders WHERE id = {order});",
                1 + self.below(self.orders)
            ),
            94..96 => format!(
                "UPDATE customers SET id = {other} WHERE id = {customer} AND NOT EXISTS (SELECT FROM customers WHERE id = {other});"
            ),
            _ if self.more.is_empty() => format!("UPDATE orders SET currency = '{currency}' WHERE id = {order};"),
            _ => self.more.replace("{order}", &order.to_string()).replace("{customer}", &customer.to_string()),
        }
    }
}
