/** Builds the rows that the API records for simulated users. The id of a key is its name. */
import { commandIdOf, releaseCommandIdOf, type ReleaseCommand } from '../../store/commands.ts'
import { nextEffect } from '../../domain/release/next-effect.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import type { Role } from '../../domain/roles.ts'
import type { StartBasis } from '../../domain/starts.ts'
import type { ReleaseRequest } from '../../workflows/messages.ts'
import { simulatedModel } from './initial-state.ts'
import type { PlannedCommand } from './scenario.ts'

/** The id of a command to a release; copies have the same one. */
export const idOfCommand = (
  { id, command, by }: Pick<PlannedCommand, 'id' | 'command' | 'by'>,
  release: string,
): `cmd_${string}` => releaseCommandIdOf(by, { kind: command, once: `${release} ${id}` })

/** The row of a command to a release. `role`: that of the key at this moment; absent without a key. */
export function recordedCommand(
  said: Omit<PlannedCommand, 'atMs' | 'copies'>,
  state: ReleaseState,
  role: Role | undefined,
): ReleaseCommand {
  const { command, by, reason, digest } = said
  const effect = nextEffect(state)
  const endsWait = command === 'approve' || command === 'resume'
  return {
    id: idOfCommand(said, state.id),
    kind: command,
    releaseId: state.id,
    model: state.model,
    actor: by,
    keyId: by,
    role: role ?? 'viewer',
    reason,
    digests: { ...state.digests, ...(digest && { [digest.replace('Digest', '')]: 'another' }) },
    untilMs: endsWait && 'untilMs' in effect ? effect.untilMs : undefined,
  }
}

/** The row of a start of a release, and the input of its workflow. */
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
    position: -place,
    release_id: null,
    next_at: null,
    run_id: null,
    accepted: null,
    answered_at: null,
  }
  return { request: { model: simulatedModel, order: id }, row }
}
