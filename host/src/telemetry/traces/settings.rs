//! The settings of tracing: `[telemetry]` in `heddle.toml`, overridden by OpenTelemetry's standard variables.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use heddle_contract::manifest::{SpanDetail, Traces, is_collector};
use heddle_core::explain::Explain;
use heddle_core::trace::{Sampler, Tracing};
use percent_encoding::percent_decode_str;
use thiserror::Error;
use ureq::http::{HeaderName, HeaderValue};

/// The address of a collector if only `OTEL_TRACES_EXPORTER` demands traces.
const COLLECTOR: &str = "http://localhost:4318";
/// The path of traces at a collector.
const PATH: &str = "/v1/traces";
/// A transaction passes all its spans at once, so the queue is larger than OpenTelemetry's 2,048.
const QUEUE_SPANS: usize = 16_384;

/// The settings of a host that exports spans.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Decides which spans there are.
    pub tracing: Tracing,
    /// The address to which spans are sent.
    pub url: String,
    /// The headers of requests.
    pub headers: Vec<(String, String)>,
    /// The time limit of a request.
    pub timeout: Duration,
    /// The file of the authorities that may have signed the collector's certificate, instead of the public ones.
    pub ca: Option<PathBuf>,
    /// The longest time that a span waits for others.
    pub delay: Duration,
    /// The most spans that wait.
    pub queue_spans_max: usize,
    /// The most spans of a request.
    pub batch_spans_max: usize,
    /// The most links of a span.
    pub links_max: usize,
    /// The name of the service, instead of the component's.
    pub service: Option<String>,
    /// Attributes of all services.
    pub resource: Vec<(String, String)>,
}

/// A variable has a value that Heddle cannot use.
#[derive(Debug, Error)]
#[error("{variable} is `{value}`, which {why}")]
pub struct WrongVariable {
    variable: &'static str,
    value: String,
    why: &'static str,
    remedy: &'static str,
}

impl Explain for WrongVariable {
    fn place(&self) -> Option<String> {
        Some(format!("environment variable {}", self.variable))
    }

    fn remedy(&self) -> Option<String> {
        Some(self.remedy.to_owned())
    }
}

/// The variables that begin with `OTEL_`. An empty one counts as not set.
struct Variables<'v>(&'v BTreeMap<String, String>);

impl<'v> Variables<'v> {
    fn get(&self, name: &str) -> Option<&'v str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The value of the variable for traces, or else of the one for all signals.
    fn either(&self, of_traces: &'static str, of_all: &'static str) -> Option<(&'static str, &'v str)> {
        [of_traces, of_all].into_iter().find_map(|name| Some((name, self.get(name)?)))
    }

    /// A number. Zero is not allowed, as in the specification.
    fn number<T: FromStr + PartialEq + Default>(&self, name: &'static str) -> Result<Option<T>, WrongVariable> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.parse().ok().filter(|number| *number != T::default());
        number.map(Some).ok_or_else(|| WrongVariable {
            variable: name,
            value: value.to_owned(),
            why: "is not a whole number above 0",
            remedy: "set it to a number, or unset it",
        })
    }

    fn millis(&self, of_traces: &'static str, of_all: &'static str) -> Result<Option<Duration>, WrongVariable> {
        let millis = self.number(of_traces)?.map_or_else(|| self.number(of_all), |millis| Ok(Some(millis)));
        Ok(millis?.map(Duration::from_millis))
    }

    /// The address to which spans are sent. `None` if there is none, or if tracing is off.
    fn url(&self, file: &Traces) -> Result<Option<String>, WrongVariable> {
        let url = self.unchecked_url(file);
        // That of the file is checked with the file.
        let of_variable = self.either("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
        if let (Some(url), Some((variable, value))) = (&url, of_variable)
            && !is_collector(url)
        {
            // It may hold a password.
            let (value, why) = (value.rsplit('@').next().unwrap_or_default().to_owned(), "is not an address");
            let remedy = "write http://<host>:<port> of an OTLP/HTTP collector";
            return Err(WrongVariable { variable, value, why, remedy });
        }
        Ok(url)
    }

    /// The headers of requests.
    fn headers(&self) -> Result<Vec<(String, String)>, WrongVariable> {
        let given = self.either("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS");
        let Some((variable, list)) = given else { return Ok(vec![]) };
        let headers = pairs(list);
        let is_header = |(name, value): &(String, String)| {
            HeaderName::from_str(name).is_ok() && HeaderValue::from_str(value).is_ok()
        };
        if headers.iter().all(is_header) {
            return Ok(headers);
        }
        // It may hold a password.
        let (value, why) = ("…".to_owned(), "has a name or a value that no header of HTTP may have");
        Err(WrongVariable { variable, value, why, remedy: "write name=value,name=value with values percent-encoded" })
    }

    fn unchecked_url(&self, file: &Traces) -> Option<String> {
        let is_off = self.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let exporter = self.get("OTEL_TRACES_EXPORTER");
        if is_off || exporter.is_some_and(|exporter| exporter != "otlp") {
            return None;
        }
        if let Some(url) = self.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
            return Some(url.to_owned());
        }
        let base = self.get("OTEL_EXPORTER_OTLP_ENDPOINT").or(file.collector.as_deref());
        let base = base.or(exporter.map(|_| COLLECTOR))?;
        Some(format!("{}{PATH}", base.trim_end_matches('/')))
    }

    fn sampler(&self, file: &Traces) -> Result<Sampler, WrongVariable> {
        const NAME: &str = "OTEL_TRACES_SAMPLER";
        const RATIO: &str = "OTEL_TRACES_SAMPLER_ARG";
        let ratio = || match self.get(RATIO) {
            None => Ok(1.0),
            Some(value) => {
                value.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio)).ok_or_else(|| WrongVariable {
                    variable: RATIO,
                    value: value.to_owned(),
                    why: "is not a number from 0 to 1",
                    remedy: "set it to the part of new traces to record, such as 0.01",
                })
            }
        };
        let of_file = || file.ratio.map_or(1.0, |hundredths| f64::from(hundredths) / 10_000.0);
        let Some(name) = self.get(NAME) else { return Ok(Sampler::new(true, of_file())) };
        let (follows_parent, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let part = match root {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => ratio()?,
            _ => {
                let (variable, value) = (NAME, name.to_owned());
                let remedy = "use always_on, always_off or traceidratio, alone or after parentbased_";
                return Err(WrongVariable { variable, value, why: "is not a known sampler", remedy });
            }
        };
        Ok(Sampler::new(follows_parent, part))
    }

    fn refuse_others(&self) -> Result<(), WrongVariable> {
        let protocol = self.either("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL");
        if let Some((variable, value)) = protocol.filter(|(_, value)| *value != "http/protobuf") {
            let (value, why) = (value.to_owned(), "Heddle does not speak");
            let remedy = "set it to http/protobuf, and use the collector's port for HTTP, usually 4318";
            return Err(WrongVariable { variable, value, why, remedy });
        }
        let compression = self.either("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION");
        if let Some((variable, value)) = compression.filter(|(_, value)| *value != "none") {
            let (value, why) = (value.to_owned(), "Heddle does not apply");
            return Err(WrongVariable { variable, value, why, remedy: "unset it" });
        }
        Ok(())
    }
}

/// The pairs of a list: `name=value,…`, with values in the percent-encoding of addresses.
fn pairs(list: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| percent_decode_str(text.trim()).decode_utf8_lossy().into_owned();
    let pair = |item: &str| item.split_once('=').map(|(name, value)| (name.trim().to_owned(), decoded(value)));
    list.split(',').filter_map(pair).filter(|(name, _)| !name.is_empty()).collect()
}

impl Settings {
    /// Combines the file with the variables. Returns `None` if no spans are exported.
    ///
    /// # Errors
    /// If a variable has a value that Heddle cannot use.
    pub fn read(file: &Traces, variables: &BTreeMap<String, String>) -> Result<Option<Self>, WrongVariable> {
        let variables = Variables(variables);
        let Some(url) = variables.url(file)? else { return Ok(None) };
        variables.refuse_others()?;
        let creates = file.spans == SpanDetail::Emits;
        let tracing = Tracing { sampler: variables.sampler(file)?, relation: file.relation, creates };
        let headers = variables.headers()?;
        let ca = variables.either("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE");
        let timeout = variables.millis("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")?;
        let delay = variables.number("OTEL_BSP_SCHEDULE_DELAY")?.map(Duration::from_millis);
        let queue_spans_max = variables.number("OTEL_BSP_MAX_QUEUE_SIZE")?.unwrap_or(QUEUE_SPANS);
        let batch_spans_max = variables.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE")?.unwrap_or(512).min(queue_spans_max);
        let resource = variables.get("OTEL_RESOURCE_ATTRIBUTES").map(pairs).unwrap_or_default();
        let named = resource.iter().find(|(name, _)| name == "service.name").map(|(_, value)| value.clone());
        Ok(Some(Self {
            tracing,
            url,
            headers,
            timeout: timeout.unwrap_or(Duration::from_secs(10)),
            ca: ca.map(|(_, file)| file.into()),
            delay: delay.unwrap_or(Duration::from_secs(5)),
            queue_spans_max,
            batch_spans_max,
            links_max: variables.number("OTEL_SPAN_LINK_COUNT_LIMIT")?.unwrap_or(128),
            service: variables.get("OTEL_SERVICE_NAME").map(str::to_owned).or(named),
            resource,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, WrongVariable> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let file = Traces { collector: Some("http://file:4318/".to_owned()), ratio: Some(50), ..Traces::default() };
        Settings::read(&file, &variables)
    }

    fn url(variables: &[(&str, &str)]) -> Option<String> {
        read(variables).unwrap().map(|settings| settings.url)
    }

    #[test]
    fn variables_override_the_file() {
        assert_eq!(url(&[]).unwrap(), "http://file:4318/v1/traces");
        assert_eq!(url(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c/x")]).unwrap(), "https://c/x/v1/traces");
        let own =
            [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c/own"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://d")];
        assert_eq!(url(&own).unwrap(), "https://c/own");
        assert_eq!(url(&[("OTEL_SDK_DISABLED", "true")]), None);
        assert_eq!(url(&[("OTEL_TRACES_EXPORTER", "none")]), None);
        let none = Settings::read(&Traces::default(), &BTreeMap::new());
        assert_eq!(none.unwrap(), None, "nothing demands traces");
        let demanded = BTreeMap::from([("OTEL_TRACES_EXPORTER".to_owned(), "otlp".to_owned())]);
        let demanded = Settings::read(&Traces::default(), &demanded).unwrap().unwrap();
        assert_eq!(demanded.url, "http://localhost:4318/v1/traces");
    }

    #[test]
    fn the_sampler_is_that_of_the_variable_or_the_ratio_of_the_file() {
        let sampler = |variables: &[(&str, &str)]| read(variables).unwrap().unwrap().tracing.sampler;
        assert_eq!(sampler(&[]), Sampler::new(true, 0.005));
        assert_eq!(sampler(&[("OTEL_TRACES_SAMPLER", "always_off")]), Sampler::new(false, 0.0));
        let ratio = [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.25")];
        assert_eq!(sampler(&ratio), Sampler::new(true, 0.25));
    }

    #[test]
    fn wrong_values_are_refused_with_a_remedy() {
        let wrong = [
            ("OTEL_TRACES_SAMPLER", "sometimes"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "99999999999999999999"),
            ("OTEL_TRACES_SAMPLER_ARG", "NaN"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.1"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a b"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:99999"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "file:///etc/passwd"),
        ];
        for (name, value) in wrong {
            let sampler = ("OTEL_TRACES_SAMPLER", if name == "OTEL_TRACES_SAMPLER" { value } else { "traceidratio" });
            let error = read(&[sampler, (name, value)]).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{name} is `{value}`, which ")), "{error}");
            assert!(error.remedy().is_some());
        }
        for headers in ["a b=c", "a=b%0d%0ahost: other", "größe=1"] {
            let error = read(&[("OTEL_EXPORTER_OTLP_HEADERS", headers)]).unwrap_err().to_string();
            assert!(error.contains("no header of HTTP") && !error.contains(headers), "{error}");
        }
    }

    #[test]
    fn lists_are_split_and_decoded() {
        let settings = read(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, other = c=d,nothing"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
        ]);
        let settings = settings.unwrap().unwrap();
        let owned = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(settings.headers, [owned("api-key", "a b"), owned("other", "c=d")]);
        assert_eq!(settings.resource, [owned("deployment.environment", "test")]);
        assert_eq!((settings.queue_spans_max, settings.batch_spans_max), (8, 8));
    }
}
