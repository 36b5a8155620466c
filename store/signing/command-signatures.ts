/**
 * Signs commands to a release. A Temporal client can write any name into a message; the signature proves which API key sent which command
 * to which release.
 */
import type { CommandName } from '../../domain/release/state.ts'
import { signClaim, verifyClaim } from './signed-claim.ts'
import type { Signer, Verifier } from './signing-key.ts'

/** Everything that a signature covers. A command that differs in any field is rejected. */
export interface SignedCommand {
  command: CommandName
  model: string
  /** The release that the command is sent to; absent for a rollback that replicas store. */
  release?: string
  by: string
  /** The id of the command, which makes a repetition harmless. */
  id: string
  reason?: string
  artifactDigest?: string
  evaluationDigest?: string
  policyDigest?: string
  /** ISO 8601: a command that ends a wait is invalid after the end of that wait. */
  until?: string
  /** The version of a stored rollback. */
  version?: string
}

/** How long a command may be in transit, for example to a worker that is down. */
const validMs = 24 * 3_600_000

const kind = 'tenure-command@1'

/** `keyId`: the key that sends the command. */
export const signCommand = (
  signer: Pick<Signer, 'sign'>,
  command: SignedCommand,
  { keyId, nowMs }: { keyId: string; nowMs: number },
): string => signClaim(signer, kind, command, { keyId, nowMs, validMs })

/**
 * The id of the key that signed the command; undefined for an invalid or expired signature. `nowMs`: the arrival of the command; for a
 * recorded one, the time of its row, so that it stays valid after a rotation of the signing key.
 */
export function verifyCommand(
  verifier: Verifier,
  command: SignedCommand,
  { signature, nowMs }: { signature: string; nowMs: number },
): string | undefined {
  const claim = verifyClaim(verifier, kind, command, { signature, signedMs: nowMs })
  return claim !== undefined && claim.untilMs > nowMs ? claim.keyId : undefined
}

/** When the command was signed, in milliseconds; NaN for a text that is not a signature. */
export const signedMsOf = (signature: string): number => Number(signature.split('.')[1]) - validMs
