/**
 * The session of a person in a browser: an API key, shown once, becomes a signed cookie that no script can read and no other
 * site can send. It names the key and the secret that opened it, so it ends with either, and holds no secret itself.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Signer } from '../../store/signing/signing-key.ts'
import { cookieIn, sessionCookie } from './cookie.ts'

/** Which key a session stands for, and by which of its secrets it was opened. */
export interface SessionKey {
  /** The id of the key. */
  key: string
  /** Tells the secrets of one key apart; says nothing about them. */
  mark: string
}

export interface Session extends SessionKey {
  id: string
  untilMs: number
  /** Stands in every form of this session. Another site can make a browser send a form, but cannot know this. */
  token: string
}

/** What a signature of this kind begins with, so that none for another purpose can be taken for one. */
const purpose = 'tenure session 1\n'
/** A cookie is a few hundred bytes; nothing larger is looked at. */
const mostBytes = 2_000

/** Answers the value of the cookie. */
export function sealSession(signer: Signer, subject: SessionKey, untilMs: number): string {
  const { key, mark } = subject
  const payload = Buffer.from(
    JSON.stringify({ id: randomBytes(12).toString('hex'), key, mark, untilMs }),
  ).toString('base64url')
  return `${payload}.${signer.sign(Buffer.from(purpose + payload)).toString('base64url')}`
}

/**
 * The session in a Cookie header; nothing when there is none, when it is over, or when it is not ours. `nowMs` is the
 * database's time: a replica whose clock is off would end sessions early, or keep them open for longer than they are.
 */
export function readSession(signer: Signer, header: string | undefined, nowMs: number): Session | undefined {
  const value = cookieIn(header, sessionCookie)
  if (value === undefined || value.length > mostBytes) return undefined
  const [payload = '', signature = ''] = value.split('.')
  if (!signer.verify(Buffer.from(purpose + payload), Buffer.from(signature, 'base64url'))) return undefined
  const { id, key, mark, untilMs } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Session
  return untilMs <= nowMs ? undefined : { id, key, mark, untilMs, token: tokenOf(value) }
}

/** Whether a form carries the token of the session. */
export function isOwnForm({ token }: Session, sent: string | undefined): boolean {
  const given = Buffer.from(sent ?? '')
  const wanted = Buffer.from(token)
  return given.byteLength === wanted.byteLength && timingSafeEqual(given, wanted)
}

/**
 * Why a form does not come from a page of this host; nothing when it does. Browsers say where a form stands (Fetch Metadata, and
 * Origin); a program that says neither has no cookies of anybody.
 */
export function issueOfSender(header: (name: string) => string | undefined): string | undefined {
  const site = header('sec-fetch-site')
  if (site !== undefined && site !== 'same-origin') return `it comes from another place (${site})`
  const origin = header('origin')
  if (origin === undefined) return undefined
  const host = /^https?:\/\/([^/]+)$/.exec(origin)?.[1]
  return host !== undefined && host === header('host')
    ? undefined
    : `it comes from ${JSON.stringify(origin.slice(0, 100))}`
}

const tokenOf = (cookie: string): string =>
  createHash('sha256').update(`tenure form\n${cookie}`).digest('base64url')
