/**
 * Checks under which name a request reached this process, and from which page it came. Any web site can make a browser send requests here.
 * A site that resolves its own name to this machine's address (DNS rebinding) could also read the responses.
 */
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { DomainError } from '../../domain/errors.ts'
import { shown } from '../../domain/postgres-text.ts'

/** Whether the value of a `Host` header names this process. */
export type HostCheck = (host: string) => boolean

const hostPattern = /^(?:\[([0-9a-f:.]+)\]|([\w.-]+))(?::\d{1,5})?$/i

/**
 * Creates a check that accepts IP addresses, which no site can claim, `localhost`, and these names. A name that begins with a dot includes
 * all its subdomains.
 */
export function createHostCheck(names: readonly string[]): HostCheck {
  const exact = new Set([
    'localhost',
    ...names.map((name) => name.toLowerCase()).filter((name) => name !== ''),
  ])
  const suffixes = [...exact].filter((name) => name.startsWith('.'))
  const isOwn = (host: string): boolean => {
    const [, address, name = ''] = hostPattern.exec(host) ?? []
    if (address !== undefined) return isIP(address) === 6
    const plain = name.toLowerCase()
    return exact.has(plain) || isIP(plain) === 4 || suffixes.some((suffix) => plain.endsWith(suffix))
  }
  // Nearly all requests have the same host.
  let known: string | undefined
  return (host) => {
    if (host === known) return true
    const accepted = isOwn(host)
    if (accepted) known = host
    return accepted
  }
}

/** Throws `malformed_request` for an invalid target or `Host`, and `host_not_allowed` for another host. HTTP/1.0 needs no `Host`. */
export function requireOwnHost(
  { headers, httpVersion, rawHeaders, url = '' }: IncomingMessage,
  isOwn: HostCheck,
): void {
  if (!/^(?:\/|https?:\/\/)/i.test(url))
    throw new DomainError(
      'malformed_request',
      `the request target ${shown(url)} is neither a path nor an address`,
    )
  const { host } = headers
  if (host === undefined && httpVersion === '1.0') return
  if (host === undefined) throw new DomainError('malformed_request', 'the request has no header "Host"')
  if (rawHeaders.filter((text, at) => at % 2 === 0 && text.toLowerCase() === 'host').length > 1)
    throw new DomainError('malformed_request', 'the request has two headers "Host"')
  if (isOwn(host)) return
  if (!hostPattern.test(host))
    throw new DomainError('malformed_request', `the header "Host" is ${shown(host)}`)
  throw new DomainError('host_not_allowed', `the host ${shown(host)} is not a name of this API`)
}

type Header = (name: string) => string | undefined

/**
 * Returns why a request does not come from a page of this host; undefined when it does. Browsers send Fetch Metadata and Origin; a program
 * that sends neither has no cookies either.
 */
export function issueOfSender(header: Header): string | undefined {
  const site = header('sec-fetch-site')
  if (site !== undefined && site !== 'same-origin' && site !== 'none')
    return `it comes from another site (${shown(site)})`
  const origin = header('origin')
  if (origin === undefined) return undefined
  const host = /^https?:\/\/([^/]+)$/.exec(origin)?.[1]
  return host !== undefined && host === header('host')
    ? undefined
    : `it comes from ${JSON.stringify(shown(origin))}`
}

/** Throws `cross_site_request` for a request without a key that a page of another site has caused. */
export function requireOwnSender(header: Header): void {
  if (header('authorization') !== undefined) return
  const issue = issueOfSender(header)
  if (issue !== undefined) throw new DomainError('cross_site_request', `the request is refused: ${issue}`)
}
