/**
 * Seals and reads browser sessions: a signed cookie that no script can read and no other site can send. The session names the key and the
 * secret that opened it, so it ends with either. It contains no secret itself.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Signer } from '../../store/signing/signing-key.ts'

export interface SessionKey {
  /** Id of the key. */
  key: string
  /** Identifies the secret that opened the session, without revealing it. */
  mark: string
}

export interface Session extends SessionKey {
  id: string
  untilMs: number
  /** The token in every form of this session. Another site can make a browser submit a form, but cannot know the token. */
  token: string
}

/** A prefix of the signed text, so that a signature made for another purpose is invalid here. */
const purpose = 'tenure session 1\n'
/** Limits the size of a cookie. A valid one has a few hundred bytes. */
const maxBytes = 2_000

/** Returns the value of the cookie. */
export function sealSession(signer: Signer, subject: SessionKey, untilMs: number): string {
  const { key, mark } = subject
  const payload = Buffer.from(
    JSON.stringify({ id: randomBytes(12).toString('hex'), key, mark, untilMs }),
  ).toString('base64url')
  return `${payload}.${signer.sign(Buffer.from(purpose + payload)).toString('base64url')}`
}

/**
 * Reads the session in a cookie value; undefined when it is invalid. `nowMs` is the database's time, so that a replica's own clock cannot
 * shift the end of a session.
 */
export function readSession(signer: Signer, value: string | undefined, nowMs: number): Session | undefined {
  if (value === undefined || value.length > maxBytes) return undefined
  const [payload = '', signature = ''] = value.split('.')
  const isSigned = signer.verify(Buffer.from(purpose + payload), Buffer.from(signature, 'base64url'), nowMs)
  if (!isSigned) return undefined
  const { id, key, mark, untilMs } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Session
  return untilMs <= nowMs ? undefined : { id, key, mark, untilMs, token: tokenOf(value) }
}

export function isOwnForm({ token }: Session, sent: string | undefined): boolean {
  const given = Buffer.from(sent ?? '')
  const expected = Buffer.from(token)
  return given.byteLength === expected.byteLength && timingSafeEqual(given, expected)
}

const tokenOf = (cookie: string): string =>
  createHash('sha256').update(`tenure form\n${cookie}`).digest('base64url')
