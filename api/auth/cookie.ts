/** The cookie of a session, as it stands in headers. */

export const sessionCookie = 'tenure_session'
/** A day's work. */
export const sessionMs = 8 * 3_600_000

/** The header that keeps a session; without a value, the one that ends it. */
export function setCookie(value: string | undefined, secure: boolean): string {
  const age = value === undefined ? 0 : sessionMs / 1_000
  return `${sessionCookie}=${value ?? ''}; Path=/; Max-Age=${age}; HttpOnly; SameSite=Strict${secure ? '; Secure' : ''}`
}

/** Whether the browser speaks to us, or to what stands before us, by https. */
export const isSecure = (header: (name: string) => string | undefined): boolean =>
  (header('x-forwarded-proto') ?? '').split(',')[0]?.trim() === 'https' ||
  (header('origin') ?? '').startsWith('https://')

/** The value of a cookie; nothing when it is not among them. */
export function cookieIn(header: string | undefined, name: string): string | undefined {
  for (const pair of (header ?? '').split(';')) {
    const at = pair.indexOf('=')
    if (pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim()
  }
  return undefined
}
