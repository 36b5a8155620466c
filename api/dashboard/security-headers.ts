/** What every page tells the browser: to load nothing but what this host has, to send forms nowhere else, to be in nobody's frame. */

/** Where browsers tell of what a page was not allowed to do. */
export const reportPath = '/csp-reports'

export const pageHeaders: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; " +
    `report-uri ${reportPath}; report-to csp`,
  'reporting-endpoints': `csp="${reportPath}"`,
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  // Not `no-referrer`: with it a browser hides where a form of ours comes from, also from us.
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  // What a page shows is for who asked, and of this moment.
  'cache-control': 'no-store',
}

export const html = 'text/html; charset=utf-8'
