/**
 * Authorizes commands: looks up the key of each sender, verifies its signature, and reads the basis of the release at that moment.
 * Looked up on every command, so that a revoked key has no effect.
 */
import type { CommandName, ReleaseBasis } from '../../domain/release/state.ts'
import type { Role } from '../../domain/roles.ts'
import { findActiveKeys, type ActiveKey } from '../../store/access/api-keys.ts'
import { findReleaseBasis } from '../../store/release/basis.ts'
import { findAnswers } from '../../store/release/releases.ts'
import { openSigner, type Signer } from '../../store/signing/signing-key.ts'
import { verifyCommand, type SignedCommand } from '../../store/signing/command-signatures.ts'
import type { CommandResult } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'
import { databaseTime } from './await-replicas.ts'

export interface CommandIdentity {
  /** The id of the command. */
  id: string
  name: string
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
  /** The result of the same command when it was applied before. */
  answered?: CommandResult
}

export interface AuthorizationRequest {
  model: string
  /** The addressed release and its version. */
  release?: string
  version?: string
  commands: (Omit<SignedCommand, 'model' | 'release' | 'command'> & {
    command: CommandName
    signature?: string
  })[]
}

/** Returns one identity per command, in order. */
export const authorize = ({ store, config }: Deps) => {
  let opened: Promise<Signer> | undefined
  const signer = () => {
    opened ??= openSigner(config.signingKey)
    // Retries after a failure, so that a repaired key file takes effect at once.
    opened.catch(() => (opened = undefined))
    return opened
  }
  return async ({ model, release, version, commands }: AuthorizationRequest): Promise<CommandIdentity[]> => {
    const keys = await findActiveKeys(store)
    const standing = version === undefined ? undefined : await findReleaseBasis(store, { model, version })
    const ids = commands.map(({ id }) => id)
    const answers = release === undefined ? undefined : await findAnswers(store, { release, ids })
    const identities: CommandIdentity[] = []
    for (const { signature, ...command } of commands) {
      const { id, by: name } = command
      const known = { id, name, standing, answered: answers?.get(id) }
      const reject = (rejectedBecause?: string) =>
        identities.push({ ...known, inScope: false, rejectedBecause })
      const accept = ({ id: key, role, models }: ActiveKey) =>
        identities.push({ ...known, key, role, inScope: models === undefined || models.includes(model) })
      if (signature === undefined) {
        const key = keys.find((each) => each.name === name)
        if (key === undefined) reject()
        else if (config.unsignedSignals) accept(key)
        else reject(unsigned(name))
        continue
      }
      // A rollback may be signed for the model alone, whichever release is open.
      const claims: SignedCommand[] = [{ ...command, model, release }]
      if (command.command === 'rollback') claims.push({ ...command, model })
      const trust = await signer()
      const nowMs = await databaseTime({ store })
      const keyId = claims
        .map((claim) => verifyCommand(trust, claim, { signature, nowMs }))
        .find((each) => each !== undefined)
      const key = keys.find((each) => each.id === keyId && each.name === name)
      if (key !== undefined) accept(key)
      else reject(keyId === undefined ? invalidSignature(name) : undefined)
    }
    return identities
  }
}

const unsigned = (name: string): string =>
  `the command of ${name} has no signature, and this namespace accepts signed commands only ` +
  '(use the API or the `tenure` command, or set TENURE_UNSIGNED_SIGNALS=on where only trusted users reach Temporal)'

const invalidSignature = (name: string): string =>
  `the signature does not match this command of ${name}, is older than 24 h, or was made with a signing key that the workers do not have`
