//! Languages of tracks, as media files name them: three letters of ISO 639-2 in its terminological form.

use isolang::Language;

use onceover_run::RunError;

/// Codes of libraries (ISO 639-2/B) and the terminological ones for the same languages.
const OF_LIBRARIES: [(&str, &str); 20] = [
    ("alb", "sqi"),
    ("arm", "hye"),
    ("baq", "eus"),
    ("bur", "mya"),
    ("chi", "zho"),
    ("cze", "ces"),
    ("dut", "nld"),
    ("fre", "fra"),
    ("geo", "kat"),
    ("ger", "deu"),
    ("gre", "ell"),
    ("ice", "isl"),
    ("mac", "mkd"),
    ("mao", "mri"),
    ("may", "msa"),
    ("per", "fas"),
    ("rum", "ron"),
    ("slo", "slk"),
    ("tib", "bod"),
    ("wel", "cym"),
];

/// Returns the tag of a language that is given as a code of two or three letters, with or without a region, or by its
/// English name.
pub(super) fn tag(given: &str) -> Result<String, RunError> {
    let main = given
        .trim()
        .split(['-', '_'])
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let of_library = OF_LIBRARIES.iter().find(|(library, _)| *library == main);
    let found = match main.len() {
        2 => Language::from_639_1(&main),
        3 => Language::from_639_3(of_library.map_or(main.as_str(), |(_, code)| code)),
        _ => {
            let mut name = main;
            if let Some(first) = name.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            Language::from_name(&name)
        }
    };
    found.map(|language| language.to_639_3().to_owned()).ok_or_else(|| {
        RunError::failed(format!(
            "input_data: '{given}' is no language; give a code of ISO 639 such as en, eng or pt-BR"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_regions_and_names_give_one_tag() {
        for (given, expected) in [
            ("de", "deu"),
            ("ger", "deu"),
            ("deu", "deu"),
            ("pt-BR", "por"),
            ("zh_Hans", "zho"),
            ("French", "fra"),
            ("EN", "eng"),
            ("und", "und"),
        ] {
            assert_eq!(tag(given).unwrap(), expected, "{given}");
        }
        for wrong in ["", "xx", "klingonese", "日本"] {
            assert!(tag(wrong).unwrap_err().to_string().contains("no language"), "{wrong}");
        }
    }
}
