/**
 * Signs commands to a release. A client of Temporal can write any name into a message; the signature proves which API key sent which
 * command to which release, and nothing else.
 */
import type { CommandName } from '../../domain/release/state.ts'
import { signClaim, verifyClaim } from './signed-claim.ts'
import type { Signer, Verifier } from './signing-key.ts'

/** Everything that a signature covers; a command that differs in any of it is refused. */
export interface SignedCommand {
  command: CommandName
  model: string
  /** The release it is said to; absent for a rollback that a replica keeps. */
  release?: string
  by: string
  /** The id of the command, which makes a repetition harmless. */
  id: string
  reason?: string
  artifactDigest?: string
  evaluationDigest?: string
  policyDigest?: string
  /** ISO 8601: what is said for something that people are waited for until then means nothing later. */
  until?: string
  /** The version that a kept rollback is about. */
  version?: string
}

/** How long a command may be on its way, for instance to a worker that is away. */
const validMs = 24 * 3_600_000

const kind = 'tenure-command@1'

/** `keyId` is the key that said it. */
export const signCommand = (
  signer: Pick<Signer, 'sign'>,
  said: SignedCommand,
  { keyId, nowMs }: { keyId: string; nowMs: number },
): string => signClaim(signer, kind, said, { keyId, nowMs, validMs })

/**
 * The id of the key that said it; absent when it did not, or too long ago. `nowMs` is when the command arrived: for a recorded one, the time
 * of its row, so that it outlives the rotation of the signing key.
 */
export function verifyCommand(
  verifier: Verifier,
  said: SignedCommand,
  { signature, nowMs }: { signature: string; nowMs: number },
): string | undefined {
  const claim = verifyClaim(verifier, kind, said, { signature, signedMs: nowMs })
  return claim !== undefined && claim.untilMs > nowMs ? claim.keyId : undefined
}
