/** Signs commands, and records starts, of simulated users cheaply and deterministically. The id of a key is its name. */
import { createHmac } from 'node:crypto'
import type { CommandName } from '../../domain/release/state.ts'
import type { StartBasis } from '../../domain/roles.ts'
import { signCommand } from '../../store/signing/command-signatures.ts'
import { commandIdOf } from '../../store/commands.ts'
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

/** Builds the row of a start of a release, and the input of its workflow. */
export function recordedRelease(
  { version, by, place }: { version: string; by: string; place: number },
  basis: StartBasis,
  nowMs: number,
): { request: ReleaseRequest; row: { id: string } & Record<string, unknown> } {
  const id = commandIdOf(place.toString(16).padStart(32, '0'))
  const input = { model: simulatedModel, version }
  const row = {
    id,
    kind: 'release',
    model: simulatedModel,
    actor: by,
    key_id: by,
    input,
    basis,
    until: nowMs + 15 * 60_000,
    release_id: null,
    run_id: null,
    accepted: null,
  }
  return { request: { model: simulatedModel, order: id }, row }
}
