/** Signs commands and starts of simulated users cheaply and deterministically. The id of a key is its name. */
import { createHmac } from 'node:crypto'
import type { CommandName } from '../../domain/release/state.ts'
import type { StartBasis } from '../../domain/roles.ts'
import { signCommand } from '../../store/signing/command-signatures.ts'
import { signStart } from '../../store/signing/start-signatures.ts'
import type { Signer } from '../../store/signing/signing-key.ts'
import type { ReleaseRequest } from '../../workflows/messages.ts'
import { simulatedModel } from './initial-state.ts'

const sign = (bytes: Uint8Array) => createHmac('sha256', 'simulated').update(bytes).digest()
export const simulatedSigner: Signer = {
  sign,
  verify: (bytes, signature) => sign(bytes).equals(signature),
  publicPem: '',
}

export function signedAs<Statement extends { by: string; id: string }>(
  command: CommandName,
  release: string,
  statement: Statement,
  nowMs: number,
): Statement & { signature: string } {
  const claim = { ...statement, command, release, model: simulatedModel }
  return { ...statement, signature: signCommand(simulatedSigner, claim, { keyId: statement.by, nowMs }) }
}

/** Builds the start of a release by its requester. `id` is the id of its authorisation. */
export function signedRelease(
  { version, by, id }: { version: string; by: string; id: string },
  basis: StartBasis,
  nowMs: number,
): ReleaseRequest {
  const request = { model: simulatedModel, version, requestedBy: by }
  const signedBy = { keyId: by, nowMs, id }
  return {
    ...request,
    authorisation: signStart(simulatedSigner, { type: 'release', request, basis }, signedBy),
  }
}
