/**
 * Whose word a command is. A message to a workflow carries a name, and whoever reaches Temporal can write any name into it; a
 * warrant is this installation's signature under who said what to which release, given by the API to the bearer of the key.
 * It holds no secret: in a history that others read it proves nothing but the one command it was made for.
 */
import { canonicalJson } from '../../domain/canonical-json.ts'
import type { CommandName } from '../../domain/release/state.ts'
import type { Signer } from './signing-key.ts'

/** All that a warrant is for; a command that differs in any of it has none. */
export interface SignedCommand {
  command: CommandName
  model: string
  /** The release it is said to; absent for a rollback of the model, whatever release is open. */
  release?: string
  by: string
  /** The id of the command, which makes a repetition harmless. */
  id: string
  reason?: string
  artifactDigest?: string
  evaluationDigest?: string
  policyDigest?: string
  until?: string
}

/** How long a command may be on its way, for instance to a worker that is away. */
const validMs = 24 * 3_600_000

/** `keyId` is the key that said it. */
export function signCommand(
  signer: Signer,
  said: SignedCommand,
  { keyId, nowMs }: { keyId: string; nowMs: number },
): string {
  // A point would end it where it is read.
  const untilMs = Math.floor(nowMs) + validMs
  return `${keyId}.${untilMs}.${signer.sign(bytesOf(said, keyId, untilMs)).toString('base64url')}`
}

/** The id of the key that said it; absent when it did not, or too long ago. */
export function verifyCommand(
  signer: Signer,
  said: SignedCommand,
  { signature, nowMs }: { signature: string; nowMs: number },
): string | undefined {
  const [keyId = '', until = '', bytes = ''] = signature.split('.')
  const untilMs = Number(until)
  if (!(untilMs > nowMs)) return undefined
  return signer.verify(bytesOf(said, keyId, untilMs), Buffer.from(bytes, 'base64url')) ? keyId : undefined
}

const bytesOf = (said: SignedCommand, keyId: string, untilMs: number): Buffer =>
  Buffer.from(`tenure-warrant@1\n${canonicalJson({ ...said, keyId, untilMs })}`)
