/**
 * Signs requests to start a workflow, so that the first activity can distinguish an authorised start from one by any Temporal client. A
 * signature covers the whole request and the versions that its names referred to, and opens one run.
 */
import { randomUUID } from 'node:crypto'
import type { Authorisation, StartBasis, StartType } from '../../domain/roles.ts'
import { signClaim, verifyClaim } from './signed-claim.ts'
import type { Signer, Verifier } from './signing-key.ts'

interface Start {
  type: StartType
  request: object
}

/** How long a start may wait for a worker. */
const validMs = 15 * 60_000
const kind = 'tenure-start@1'

export function signStart(
  signer: Pick<Signer, 'sign'>,
  start: Start & { basis: StartBasis },
  { keyId, nowMs, id = randomUUID() }: { keyId: string; nowMs: number; id?: string },
): Authorisation {
  const { basis } = start
  return { id, basis, signature: signClaim(signer, kind, { ...start, id }, { keyId, nowMs, validMs }) }
}

/**
 * The key that authorised the start, and until when it may open a run; undefined for an invalid signature. `signedMs`: the arrival of the
 * start.
 */
export const verifyStart = (
  verifier: Verifier,
  { type, request }: Start,
  { id, basis, signature }: Authorisation,
  signedMs: number,
): { keyId: string; untilMs: number } | undefined =>
  verifyClaim(verifier, kind, { type, request, basis, id }, { signature, signedMs })
