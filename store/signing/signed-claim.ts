/**
 * Signs a claim of a key's owner for a limited time: `<key id>.<valid until, in milliseconds>.<signature>`. The signed bytes begin with
 * their kind, so that a signature of one kind is never valid for another.
 */
import { canonicalJson } from '../../domain/canonical-json.ts'
import type { Signer, Verifier } from './signing-key.ts'

export function signClaim(
  signer: Pick<Signer, 'sign'>,
  kind: string,
  claim: object,
  { keyId, nowMs, validMs }: { keyId: string; nowMs: number; validMs: number },
): string {
  // A decimal point would end the field.
  const untilMs = Math.floor(nowMs) + validMs
  const signed = signer.sign(bytesOf(kind, { ...claim, keyId, untilMs }))
  return `${keyId}.${untilMs}.${signed.toString('base64url')}`
}

/**
 * The key that signed this claim, and until when the claim is valid; undefined for an invalid signature. `signedMs`: the arrival of the
 * claim, so that it stays valid after a rotation of the signing key.
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
