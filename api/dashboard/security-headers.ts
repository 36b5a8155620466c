/** Defines the response headers of every page: it loads from this host only, posts to this host only, and is never framed. */

/** The path for reports about the content security policy. */
export const reportPath = '/csp-reports'

export const pageHeaders: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; " +
    `report-uri ${reportPath}; report-to csp`,
  'reporting-endpoints': `csp="${reportPath}"`,
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  // Not `no-referrer`, which would hide the origin of forms from this host too.
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  // A page is valid for one user at one time.
  'cache-control': 'no-store',
}

export const html = 'text/html; charset=utf-8'
