/** Reads and writes the session cookie. */

/**
 * The cookie names for HTTP and HTTPS. Browsers accept a `__Host-` cookie only from this host over HTTPS, so neither another host of the
 * domain nor an attacker on the network can set it.
 */
export const sessionCookie = { plain: 'tenure_session', secure: '__Host-tenure_session' }
/** Eight hours: a working day. */
export const sessionMs = 8 * 3_600_000

/** Returns the `Set-Cookie` header of a session; without a value, the header that deletes it. */
export function setCookie(value: string | undefined, secure: boolean): string {
  const age = value === undefined ? 0 : sessionMs / 1_000
  const name = secure ? sessionCookie.secure : sessionCookie.plain
  return `${name}=${value ?? ''}; Path=/; Max-Age=${age}; HttpOnly; SameSite=Strict${secure ? '; Secure' : ''}`
}

/** Whether the browser uses HTTPS, to this process or to its proxy. `redirect` is the address of this host as the identity provider knows it. */
export const isSecure = (header: (name: string) => string | undefined, redirect?: string): boolean =>
  (header('x-forwarded-proto') ?? '').split(',')[0]?.trim() === 'https' ||
  (header('origin') ?? '').startsWith('https://') ||
  redirect?.startsWith('https://') === true

/** Returns the session cookie of a request. Over HTTPS, only the `__Host-` cookie counts. */
export const sessionIn = (cookies: string | undefined, secure: boolean): string | undefined =>
  cookieIn(cookies, sessionCookie.secure) ?? (secure ? undefined : cookieIn(cookies, sessionCookie.plain))

/** Returns the value of a cookie; undefined when the header does not have it. */
export function cookieIn(header: string | undefined, name: string): string | undefined {
  for (const pair of (header ?? '').split(';')) {
    const at = pair.indexOf('=')
    if (pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim()
  }
  return undefined
}
