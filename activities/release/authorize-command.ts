/**
 * Who has said it. A message carries a name, so what that name may do is looked up each time: a revoked key says nothing any
 * more. Whether the name is believed is settled here too, and what the release stands on at that moment is read.
 */
import type { CommandName, ReleaseBasis } from '../../domain/release/state.ts'
import type { Role } from '../../domain/roles.ts'
import { findChampion } from '../../store/registry/champions.ts'
import { findActiveKeys, type ActiveKey } from '../../store/access/api-keys.ts'
import { findAnswers, findReleasable } from '../../store/release/releases.ts'
import { openSigner, type Signer } from '../../store/signing/signing-key.ts'
import { verifyCommand, type Warranted } from '../../store/signing/command-signatures.ts'
import type { CommandResult } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'
import { databaseTime } from './await-replicas.ts'

export interface Identity {
  /** Of the command; absent when only the name was asked about. */
  id?: string
  name: string
  /** Absent when it is not believed that the name's owner has said it. */
  role?: Role
  /** The id of the key. */
  key?: string
  /** Why it is not believed. */
  rejectedBecause?: string
  /** Whether the key may touch the model asked about. */
  inScope: boolean
  /** What the release stands on. */
  standing?: ReleaseBasis
  /** What was answered to this command before, however long ago. */
  answered?: CommandResult
}

export interface Question {
  names: string[]
  model: string
  /** The release spoken to, and the version it is about. */
  release?: string
  version?: string
  /** What was said. */
  commands?: (Omit<Warranted, 'model' | 'release' | 'command'> & {
    command: CommandName
    signature?: string
  })[]
}

/** Of commands, one answer each; of names alone, the active keys among them, each with its role. */
export const authorize = ({ store, config }: Deps) => {
  let opened: Promise<Signer> | undefined
  const signer = () => {
    opened ??= openSigner(config.signingKey)
    // A key that is put right is good at once.
    opened.catch(() => (opened = undefined))
    return opened
  }
  return async ({ names, model, release, version, commands }: Question): Promise<Identity[]> => {
    const keys = await findActiveKeys(store)
    const inScope = ({ models }: ActiveKey) => models === undefined || models.includes(model)
    if (commands === undefined)
      return keys
        .filter(({ name }) => names.includes(name))
        .map((key) => ({ name: key.name, key: key.id, role: key.role, inScope: inScope(key) }))
    const standing = version === undefined ? undefined : await standingOf(store, { model, version })
    const ids = commands.map(({ id }) => id)
    const answers = release === undefined ? undefined : await findAnswers(store, { release, ids })
    const identities: Identity[] = []
    for (const { signature, ...said } of commands) {
      const { id, by: name } = said
      const answered = answers?.get(id)
      const known = {
        id,
        name,
        standing,
        answered,
      }
      if (signature === undefined) {
        const key = keys.find((each) => each.name === name)
        if (key === undefined) {
          identities.push({ ...known, inScope: false })
          continue
        }
        const { role } = key
        identities.push(
          config.unsignedSignals
            ? { ...known, key: key.id, role, inScope: inScope(key) }
            : { ...known, inScope: false, rejectedBecause: unsigned(name) },
        )
        continue
      }
      const asked = { ...said, model, ...(release === undefined ? {} : { release }) }
      const spoken = [asked, ...(said.command === 'rollback' ? [{ ...said, model }] : [])]
      const trust = await signer()
      const nowMs = await databaseTime({ store })
      const keyId = spoken
        .map((each) => verifyCommand(trust, each, { signature, nowMs }))
        .find((each) => each !== undefined)
      const key = keys.find((each) => each.id === keyId && each.name === name)
      identities.push(
        keyId === undefined
          ? { ...known, inScope: false, rejectedBecause: unwarranted(name) }
          : key === undefined
            ? { ...known, inScope: false }
            : { ...known, key: key.id, role: key.role, inScope: inScope(key) },
      )
    }
    return identities
  }
}

const unsigned = (name: string): string =>
  `nothing shows that ${name} has said it: this namespace takes signed commands alone ` +
  '(use the API or the `tenure` command, or set TENURE_UNSIGNED_SIGNALS=on where only trusted people reach Temporal)'

const unwarranted = (name: string): string =>
  `the signature is not for this command of ${name}, is too old, or was signed with another key than that of the workers`

async function standingOf(
  store: Deps['store'],
  { model, version }: { model: string; version: string },
): Promise<ReleaseBasis> {
  const [champion, candidate] = await Promise.all([
    findChampion(store, model),
    findReleasable(store, version),
  ])
  return {
    champion: champion === undefined ? undefined : champion.version,
    withdrawn: candidate?.withdrawn ?? false,
    ...(candidate === undefined
      ? {}
      : {
          artifact: candidate.artifactDigest,
          evaluation: candidate.evaluationDigest,
          ...(candidate.evaluatedAgainst === null ? {} : { evaluatedAgainst: candidate.evaluatedAgainst }),
        }),
  }
}
