"""Everything that cloudeye can find wrong with a site: how bad it is, what it costs, what to do about it.

What was found is kept by its code; all else about it is read here, so that a better wording or another weight needs
no migration. Texts are in English and translated where they leave (see `cloudeye.phrases`).

The weights follow those of Mozilla's HTTP Observatory where it has one for the same weakness.
Source: https://developer.mozilla.org/en-US/observatory/docs/tests_and_scoring
"""

from __future__ import annotations

from dataclasses import dataclass

from cloudeye.phrases import N_

MDN = "https://developer.mozilla.org/en-US/docs/Web/"
HEADERS = f"{MDN}HTTP/Reference/Headers/"
RFC = "https://www.rfc-editor.org/rfc/rfc"
OWASP = "https://owasp.org/www-project-web-security-testing-guide/latest/4-Web_Application_Security_Testing/"
CONFIGURATION = f"{OWASP}02-Configuration_and_Deployment_Management_Testing/"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one code.

    `area` is what must have been looked at for the absence of this finding to mean something; `points` are taken
    from the score once, however many subjects there are.
    """

    area: str
    severity: str
    points: int
    title: str
    remedy: str
    reference: str


def codes_of(*areas: str) -> frozenset[str]:
    """Return the codes that lie in these areas."""
    return frozenset(code for code, entry in CATALOGUE.items() if entry.area in areas)


CATALOGUE: dict[str, Entry] = {
    # -- transport and certificate: by any visit ---------------------------------------------------------------
    "no_https": Entry(
        "transport", "high", 40,
        N_("The site is served without encryption"),
        N_("Serve the site over HTTPS and redirect every plain address to it."),
        f"{MDN}Security/Defenses/Transport_Layer_Security",
    ),
    "certificate_expired": Entry(
        "certificate", "critical", 50,
        N_("The certificate has expired"),
        N_("Renew the certificate, and let it be renewed automatically well before its end."),
        f"{RFC}5280#section-4.1.2.5",
    ),
    "certificate_not_yet_valid": Entry(
        "certificate", "high", 50,
        N_("The certificate is not valid yet"),
        N_("Check the server's clock and install a certificate that is valid now."),
        f"{RFC}5280#section-4.1.2.5",
    ),
    "certificate_ends_soon": Entry(
        "certificate", "low", 10,
        N_("The certificate ends soon"),
        N_("Renew the certificate, and let it be renewed automatically well before its end."),
        "https://letsencrypt.org/docs/integration-guide/#when-to-renew",
    ),
    "certificate_self_signed": Entry(
        "certificate", "high", 40,
        N_("The certificate is signed by nobody whom browsers trust"),
        N_("Install a certificate of an authority that browsers trust."),
        f"{RFC}5280#section-6",
    ),
    "certificate_untrusted": Entry(
        "certificate", "high", 40,
        N_("The certificate's chain does not lead to an authority that browsers trust"),
        N_("Let the server send the certificate together with all intermediate certificates of its authority."),
        f"{RFC}8446#section-4.4.2",
    ),
    "certificate_wrong_name": Entry(
        "certificate", "high", 50,
        N_("The certificate is for another name"),
        N_("Install a certificate that names this host among its subject alternative names."),
        f"{RFC}9525",
    ),
    "certificate_weak_key": Entry(
        "certificate", "high", 30,
        N_("The certificate's key is too short"),
        N_("Make a new key: RSA of 2048 bits at least, or ECDSA on the curve P-256."),
        "https://nvlpubs.nist.gov/nistpubs/SpecialPublications/NIST.SP.800-57pt1r5.pdf",
    ),
    "certificate_weak_signature": Entry(
        "certificate", "high", 30,
        N_("The certificate is signed with a broken hash"),
        N_("Let the certificate be issued again, signed with SHA-256 or better."),
        f"{RFC}9155",
    ),
    # -- headers ----------------------------------------------------------------------------------------------
    "csp_missing": Entry(
        "headers", "medium", 25,
        N_("There is no Content-Security-Policy"),
        N_("Send a Content-Security-Policy that names from where scripts may be loaded."),
        f"{HEADERS}Content-Security-Policy",
    ),
    "csp_unsafe_inline": Entry(
        "headers", "medium", 20,
        N_("The Content-Security-Policy allows inline scripts"),
        N_("Remove 'unsafe-inline' from script-src and let nonces or hashes name the inline scripts."),
        f"{MDN}HTTP/Guides/CSP#inline_javascript",
    ),
    "csp_unsafe_eval": Entry(
        "headers", "low", 10,
        N_("The Content-Security-Policy allows text to be run as script"),
        N_("Remove 'unsafe-eval' from script-src."),
        f"{MDN}HTTP/Guides/CSP#eval_and_similar_apis",
    ),
    "csp_wildcard": Entry(
        "headers", "medium", 20,
        N_("The Content-Security-Policy allows scripts from anywhere"),
        N_("Name the hosts of scripts in script-src, or use nonces with 'strict-dynamic'."),
        f"{HEADERS}Content-Security-Policy/script-src",
    ),
    "csp_style_unsafe_inline": Entry(
        "headers", "info", 0,
        N_("The Content-Security-Policy allows inline styles"),
        N_("Remove 'unsafe-inline' from style-src and let nonces or hashes name the inline styles."),
        f"{HEADERS}Content-Security-Policy/style-src",
    ),
    "hsts_missing": Entry(
        "headers", "medium", 20,
        N_("There is no Strict-Transport-Security"),
        N_("Send Strict-Transport-Security: max-age=31536000; includeSubDomains."),
        f"{HEADERS}Strict-Transport-Security",
    ),
    "hsts_short": Entry(
        "headers", "low", 10,
        N_("Strict-Transport-Security holds for less than six months"),
        N_("Raise max-age to a year: 31536000."),
        f"{RFC}6797#section-11.2",
    ),
    "hsts_no_subdomains": Entry(
        "headers", "info", 0,
        N_("Strict-Transport-Security leaves out subdomains"),
        N_("Add includeSubDomains once every subdomain is served over HTTPS."),
        f"{RFC}6797#section-6.1.2",
    ),
    "frame_missing": Entry(
        "headers", "medium", 20,
        N_("Any site may show this one in a frame"),
        N_("Send Content-Security-Policy: frame-ancestors 'none' or 'self', and X-Frame-Options: DENY or SAMEORIGIN."),
        f"{HEADERS}X-Frame-Options",
    ),
    "frame_weak": Entry(
        "headers", "medium", 20,
        N_("The protection against frames has no effect"),
        N_("Name in frame-ancestors who may frame the site; browsers ignore unknown values of X-Frame-Options."),
        f"{HEADERS}Content-Security-Policy/frame-ancestors",
    ),
    "type_options_missing": Entry(
        "headers", "low", 5,
        N_("Browsers may guess the type of answers"),
        N_("Send X-Content-Type-Options: nosniff."),
        f"{HEADERS}X-Content-Type-Options",
    ),
    "referrer_missing": Entry(
        "headers", "info", 0,
        N_("There is no Referrer-Policy"),
        N_("Send Referrer-Policy: strict-origin-when-cross-origin, or stricter."),
        f"{HEADERS}Referrer-Policy",
    ),
    "referrer_unsafe": Entry(
        "headers", "low", 5,
        N_("The Referrer-Policy tells other sites more than the origin"),
        N_("Send Referrer-Policy: strict-origin-when-cross-origin, or stricter."),
        f"{HEADERS}Referrer-Policy",
    ),
    "permissions_missing": Entry(
        "headers", "info", 0,
        N_("There is no Permissions-Policy"),
        N_("Send a Permissions-Policy that switches off what the site does not use, such as camera=()."),
        f"{HEADERS}Permissions-Policy",
    ),
    "permissions_wildcard": Entry(
        "headers", "low", 5,
        N_("The Permissions-Policy opens powerful features to every frame"),
        N_("Name the origins that need a feature in place of *."),
        f"{HEADERS}Permissions-Policy",
    ),
    "version_disclosed": Entry(
        "headers", "low", 5,
        N_("The site tells which version of its software it runs"),
        N_("Switch the version off, as with server_tokens, ServerTokens or expose_php."),
        f"{OWASP}01-Information_Gathering/02-Fingerprint_Web_Server",
    ),
    # -- cookies ----------------------------------------------------------------------------------------------
    "cookie_no_secure": Entry(
        "cookies", "medium", 20,
        N_("A cookie is also sent without encryption"),
        N_("Set the cookie with Secure."),
        f"{HEADERS}Set-Cookie#secure",
    ),
    "session_cookie_no_httponly": Entry(
        "cookies", "medium", 20,
        N_("Scripts can read the cookie of a session"),
        N_("Set the cookie with HttpOnly."),
        f"{HEADERS}Set-Cookie#httponly",
    ),
    "cookie_no_httponly": Entry(
        "cookies", "low", 5,
        N_("Scripts can read a cookie"),
        N_("Set the cookie with HttpOnly unless a script of the site needs it."),
        f"{HEADERS}Set-Cookie#httponly",
    ),
    "cookie_no_samesite": Entry(
        "cookies", "low", 5,
        N_("A cookie does not say whether other sites' requests may carry it"),
        N_("Set the cookie with SameSite=Lax or SameSite=Strict."),
        f"{HEADERS}Set-Cookie#samesitesamesite-value",
    ),
    "cookie_bad_prefix": Entry(
        "cookies", "medium", 10,
        N_("A cookie breaks the rules of its prefix, so browsers drop it"),
        N_("__Secure- needs Secure; __Host- needs Secure and Path=/ and no Domain."),
        f"{MDN}HTTP/Guides/Cookies#cookie_prefixes",
    ),
    # -- the page ---------------------------------------------------------------------------------------------
    "mixed_active": Entry(
        "page", "high", 40,
        N_("The page loads scripts, styles or frames without encryption"),
        N_("Load them over HTTPS."),
        f"{MDN}Security/Defenses/Mixed_content",
    ),
    "mixed_passive": Entry(
        "page", "low", 10,
        N_("The page loads pictures, sound or film without encryption"),
        N_("Load them over HTTPS."),
        f"{MDN}Security/Defenses/Mixed_content",
    ),
    "form_insecure": Entry(
        "page", "medium", 20,
        N_("A form is sent without encryption"),
        N_("Let the form's action begin with https."),
        f"{MDN}Security/Defenses/Mixed_content",
    ),
    "script_no_integrity": Entry(
        "page", "low", 5,
        N_("The page runs scripts of another host, whatever they become"),
        N_("Add integrity and crossorigin to the script, or serve it from your own host."),
        f"{MDN}Security/Defenses/Subresource_Integrity",
    ),
    "generator_disclosed": Entry(
        "page", "low", 5,
        N_("The page tells which version of its software made it"),
        N_("Remove the generator tag from the page."),
        f"{OWASP}01-Information_Gathering/08-Fingerprint_Web_Application_Framework",
    ),
    "directory_listing": Entry(
        "page", "medium", 20,
        N_("A folder shows what lies in it"),
        N_("Switch listings off, as with autoindex off or Options -Indexes."),
        f"{CONFIGURATION}02-Test_Application_Platform_Configuration",
    ),
    # -- by scans of sites under proven control ----------------------------------------------------------------
    "tls_sslv3": Entry(
        "tls", "high", 40,
        N_("The server still speaks SSL 3.0"),
        N_("Switch SSL 3.0 off and offer TLS 1.2 and 1.3 alone."),
        f"{RFC}7568",
    ),
    "tls_old_version": Entry(
        "tls", "medium", 20,
        N_("The server still speaks an outdated version of TLS"),
        N_("Offer TLS 1.2 and 1.3 alone."),
        f"{RFC}8996",
    ),
    "tls_outdated": Entry(
        "tls", "high", 30,
        N_("The server offers neither TLS 1.2 nor TLS 1.3"),
        N_("Offer TLS 1.2 and 1.3."),
        f"{RFC}9325#section-3.1.1",
    ),
    "tls_1_3_missing": Entry(
        "tls", "info", 0,
        N_("The server does not offer TLS 1.3"),
        N_("Offer TLS 1.3 beside TLS 1.2."),
        f"{RFC}9325#section-3.1.1",
    ),
    "http_no_redirect": Entry(
        "plain", "medium", 20,
        N_("The plain address does not lead to the encrypted one"),
        N_("Answer every request to http:// with a redirect to https://."),
        f"{MDN}Security/Practical_implementation_guides/TLS#http_redirection",
    ),
    "exposed_repository": Entry(
        "files", "critical", 50,
        N_("A version control folder can be fetched"),
        N_("Keep the folder out of what is served, and change every secret that its history holds."),
        f"{CONFIGURATION}04-Review_Old_Backup_and_Unreferenced_Files_for_Sensitive_Information",
    ),
    "exposed_secret": Entry(
        "files", "critical", 60,
        N_("A file with passwords or keys can be fetched"),
        N_("Remove the file from what is served, and change every secret in it."),
        f"{CONFIGURATION}04-Review_Old_Backup_and_Unreferenced_Files_for_Sensitive_Information",
    ),
    "exposed_dump": Entry(
        "files", "critical", 60,
        N_("A copy of a database can be fetched"),
        N_("Remove the file from what is served, and change every password in it."),
        f"{CONFIGURATION}04-Review_Old_Backup_and_Unreferenced_Files_for_Sensitive_Information",
    ),
    "exposed_backup": Entry(
        "files", "high", 40,
        N_("A backup can be fetched"),
        N_("Remove the file from what is served, and change every secret in it."),
        f"{CONFIGURATION}04-Review_Old_Backup_and_Unreferenced_Files_for_Sensitive_Information",
    ),
    "exposed_config": Entry(
        "files", "medium", 20,
        N_("A file with settings can be fetched"),
        N_("Keep the file out of what is served."),
        f"{CONFIGURATION}03-Test_File_Extensions_Handling_for_Sensitive_Information",
    ),
    "exposed_log": Entry(
        "files", "medium", 20,
        N_("A log can be fetched"),
        N_("Write logs where they are not served."),
        f"{CONFIGURATION}02-Test_Application_Platform_Configuration",
    ),
    "exposed_debug": Entry(
        "files", "high", 30,
        N_("A page for developers is open to everybody"),
        N_("Switch the page off in production, or let it be reached from inside alone."),
        f"{CONFIGURATION}05-Enumerate_Infrastructure_and_Application_Admin_Interfaces",
    ),
    "exposed_phpinfo": Entry(
        "files", "medium", 20,
        N_("phpinfo is open to everybody"),
        N_("Remove the page."),
        "https://www.php.net/manual/en/function.phpinfo.php",
    ),
    "exposed_status": Entry(
        "files", "medium", 10,
        N_("The server's status is open to everybody"),
        N_("Let it be reached from inside alone."),
        f"{CONFIGURATION}05-Enumerate_Infrastructure_and_Application_Admin_Interfaces",
    ),
    "exposed_metrics": Entry(
        "files", "low", 5,
        N_("Measurements of the application are open to everybody"),
        N_("Let them be reached from inside alone."),
        "https://prometheus.io/docs/operating/security/",
    ),
    "exposed_ds_store": Entry(
        "files", "low", 5,
        N_("A .DS_Store file tells the names of other files"),
        N_("Remove the file from what is served."),
        f"{CONFIGURATION}04-Review_Old_Backup_and_Unreferenced_Files_for_Sensitive_Information",
    ),
    "cors_any_origin": Entry(
        "cors", "medium", 10,
        N_("Any site may read the answers"),
        N_("Name in Access-Control-Allow-Origin only origins from a list; send * where everything is public."),
        f"{MDN}HTTP/Guides/CORS",
    ),
    "cors_any_origin_credentials": Entry(
        "cors", "high", 40,
        N_("Any site may read the answers in the name of whoever visits it"),
        N_("Compare the origin with a list before it is allowed together with credentials."),
        f"{OWASP}11-Client-side_Testing/07-Testing_Cross_Origin_Resource_Sharing",
    ),
    "open_redirect": Entry(
        "redirects", "medium", 20,
        N_("The site sends visitors wherever a link says"),
        N_("Redirect to paths of your own alone, or to hosts from a list."),
        f"{OWASP}11-Client-side_Testing/04-Testing_for_Client-side_URL_Redirect",
    ),
}  # fmt: skip
