/**
 * Signs what the bearer of a key claims, for a while: `<key id>.<valid until, in milliseconds>.<signature>`. What is signed begins with
 * its kind, so that a signature of one kind is never one of another.
 */
import { canonicalJson } from '../../domain/canonical-json.ts'
import type { Signer, Verifier } from './signing-key.ts'

export function signClaim(
  signer: Pick<Signer, 'sign'>,
  kind: string,
  claim: object,
  { keyId, nowMs, validMs }: { keyId: string; nowMs: number; validMs: number },
): string {
  // A point would end it where it is read.
  const untilMs = Math.floor(nowMs) + validMs
  const signed = signer.sign(bytesOf(kind, { ...claim, keyId, untilMs }))
  return `${keyId}.${untilMs}.${signed.toString('base64url')}`
}

/**
 * The key that has signed this claim, and until when it holds; undefined when none has. `signedMs` is when it arrived, so that it outlives
 * the rotation of the signing key.
 */
export function verifyClaim(
  verifier: Verifier,
  kind: string,
  claim: object,
  { signature, signedMs }: { signature: string; signedMs: number },
): { keyId: string; untilMs: number } | undefined {
  const [keyId = '', until = '', bytes = ''] = signature.split('.')
  const untilMs = Number(until)
  if (!Number.isFinite(untilMs)) return undefined
  const signed = bytesOf(kind, { ...claim, keyId, untilMs })
  const isSigned = verifier.verify(signed, Buffer.from(bytes, 'base64url'), signedMs)
  return isSigned ? { keyId, untilMs } : undefined
}

const bytesOf = (kind: string, claim: object): Buffer => Buffer.from(`${kind}\n${canonicalJson(claim)}`)
