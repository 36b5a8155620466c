/**
 * Authorizes commands: looks up the key of each sender, verifies the signature and reads the current basis of the release. The key is
 * looked up on every command, so that a revoked key stops working at once.
 */
import type { CommandName, ReleaseBasis } from '../../domain/release/state.ts'
import type { Role } from '../../domain/roles.ts'
import { findActiveKeys } from '../../store/access/api-keys.ts'
import { readNow } from '../../store/database/clock.ts'
import { findReleaseBasis, findAnswers } from '../../store/release/releases.ts'
import { verifyCommand, type SignedCommand } from '../../store/signing/command-signatures.ts'
import type { CommandResult } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'
import { openVerifier } from '../runtime/open-verifier.ts'

export interface CommandIdentity {
  /** Absent when the key is unknown or revoked, or the signature is rejected. */
  role?: Role
  /** The id of the key. */
  key?: string
  /** Why the signature is rejected. */
  rejectedBecause?: string
  /** Whether the key covers the model. */
  inScope: boolean
  /** The basis of the release; absent when the command is not about a version. */
  standing?: ReleaseBasis
  /** The result of the same command, when it was applied before. */
  answered?: CommandResult
}

export interface AuthorizationRequest {
  model: string
  /** The release that the commands address, and its version. */
  release?: string
  version?: string
  commands: (Omit<SignedCommand, 'model' | 'release' | 'command'> & {
    command: CommandName
    signature?: string
  })[]
}

/** Returns one identity per command, in order. */
export const authorize =
  (deps: Deps) =>
  async ({ model, release, version, commands }: AuthorizationRequest): Promise<CommandIdentity[]> => {
    const { store } = deps
    const nowMs = await readNow(store)
    const keys = await findActiveKeys(store)
    const basis = version === undefined ? undefined : await findReleaseBasis(store, { model, version })
    const ids = commands.map(({ id }) => id)
    const answers = release === undefined ? undefined : await findAnswers(store, { release, ids })
    const identities: CommandIdentity[] = []
    for (const { signature, ...command } of commands) {
      const { id, by: name } = command
      const known = { standing: basis, answered: answers?.get(id) }
      const reject = (rejectedBecause?: string) =>
        identities.push({ ...known, inScope: false, rejectedBecause })
      if (signature === undefined) {
        reject(keys.some((each) => each.name === name) ? unsigned(name) : undefined)
        continue
      }
      const keyId = verifyCommand(openVerifier(deps), { ...command, model, release }, { signature, nowMs })
      const key = keys.find((each) => each.id === keyId && each.name === name)
      if (key === undefined) reject(keyId === undefined ? invalidSignature(name) : undefined)
      else {
        const { id: keyOf, role, models } = key
        identities.push({
          ...known,
          key: keyOf,
          role,
          inScope: models === undefined || models.includes(model),
        })
      }
    }
    return identities
  }

const unsigned = (name: string): string =>
  `the command of ${name} has no signature, and releases accept signed commands only ` +
  '(use the API or the `tenure` command; `tenure sign` prints a signed payload for `temporal workflow signal`)'

const invalidSignature = (name: string): string =>
  `the signature does not match this command of ${name}, is older than 24 h, or was made with a signing key that the workers do not have`
