/** Makes the plan of a state file: what differs in the installation, and what was changed by hand since the last apply. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { parse } from 'yaml'
import { canonicalJson } from '../../domain/canonical-json.ts'
import { DomainError } from '../../domain/errors.ts'
import { planState, type StatePlan } from '../../domain/installation/plan.ts'
import {
  identityOf,
  kindNames,
  type AppliedResource,
  type Resource,
  type ResourceChange,
  type ResourceKind,
} from '../../domain/installation/resource.ts'
import { type Client, failure } from '../client/client.ts'
import { loadModelsInChild } from '../sync/load-models.ts'
import { postChanges } from './post-changes.ts'
import { readLiveSchedules, requireSchedules } from './schedules.ts'
import { parseStateFile, type StateOfFile } from '../../store/installation/state-file.ts'

export interface MadePlan extends StatePlan {
  file: string
  prune: boolean
  /** The name of the key that reads and applies. */
  actor: string
  /** Equal for plans that make the same changes to the same state. */
  fingerprint: string
  /** Every resource named in the file, as it will be after the apply. */
  named: Resource[]
  /** Whether the last apply recorded exactly these resources. */
  isRecorded: boolean
}

interface StateAnswer {
  actor: string
  kinds: ResourceKind[]
  resources: Resource[]
  applied: AppliedResource[]
}

/** Throws what `tenure apply` would refuse, so that a shown plan can be applied. */
export async function makePlan(
  api: Client,
  { file, prune }: { file: string; prune: boolean },
): Promise<MadePlan> {
  const { models, kinds, resources } = readStateFile(file)
  const answer = await api.get<StateAnswer>('/v1/state')
  const unreadable = kinds.filter((kind) => !answer.kinds.includes(kind))
  if (unreadable.length > 0)
    throw failure({
      code: 'refused',
      detail: `the key ${answer.actor} may not read ${unreadable.map((kind) => `${kindNames[kind]}s`).join(' and ')}, which ${file} names`,
      remedy: 'Set TENURE_KEY to an admin key of all models.',
    })
  const live = [...answer.resources, ...(kinds.includes('schedule') ? await readLiveSchedules() : [])]
  // A schedule that was not read now cannot be compared with the last apply.
  const applied = answer.applied.filter(({ kind }) => kind !== 'schedule' || kinds.includes(kind))
  const desired = {
    kinds,
    resources: [...(kinds.includes('model') ? await readModels(models) : []), ...resources],
  }
  const plan = planState(desired, live, { applied, prune })
  const { changes } = plan
  const isSynced = changes.some(({ kind }) => kind === 'model')
  const ofKind = (all: readonly Resource[], kind: ResourceKind) => all.filter((each) => each.kind === kind)
  const after = isSynced ? ofKind(desired.resources, 'model') : []
  const before = ofKind(live, 'model').filter(({ name }) => after.some((each) => each.name === name))
  requireSchedules(changes, { live: ofKind(live, 'schedule'), before, after })
  if (changes.length > 0) await postChanges(api, changes, { reason: 'tenure plan', dry_run: true })
  const named = desired.resources.map(({ kind, name, value }) => ({
    kind,
    name,
    value: identityOf(kind, value)!,
  }))
  const isRecorded =
    canonicalJson(sorted(named)) ===
    canonicalJson(sorted(answer.applied.map(({ kind, name, value }) => ({ kind, name, value }))))
  return { ...plan, file, prune, actor: answer.actor, named, isRecorded, fingerprint: fingerprintOf(changes) }
}

/** Reads the models of the project as data. Throws `invalid_model_file` for a file that cannot be loaded. */
async function readModels(names: 'all' | readonly string[]): Promise<Resource[]> {
  const { models, broken } = await loadModelsInChild()
  const isWanted = (name: string) => names === 'all' || names.includes(name)
  const issues = broken
    .filter(({ file }) => isWanted(file.replace(/\.ts$/, '')))
    .flatMap(({ file, issues }) => issues.map((issue) => `${file}: ${issue}`))
  if (issues.length > 0) throw new DomainError('invalid_model_file', issues.join('; '), { issues })
  const found = models.filter(({ name }) => isWanted(name))
  const missing = names === 'all' ? [] : names.filter((name) => !models.some((each) => each.name === name))
  if (missing.length > 0)
    throw new DomainError('configuration_invalid', `no model file defines ${missing.join(', ')}`, {
      issues: missing,
    })
  return found.map(({ name, codeDigest: code, definition }) => ({
    kind: 'model',
    name,
    // Without absent fields, as the database returns it.
    value: JSON.parse(JSON.stringify({ code, definition })) as Resource['value'],
  }))
}

const sorted = (resources: readonly Resource[]) =>
  resources.toSorted((one, other) => (`${one.kind}/${one.name}` < `${other.kind}/${other.name}` ? -1 : 1))

const fingerprintOf = (changes: readonly ResourceChange[]): string =>
  createHash('sha256').update(canonicalJson(changes)).digest('hex')

// Reads the state file of a project: YAML with comments.

const maxBytes = 1_000_000

/** Throws `configuration_invalid` with all issues. */
function readStateFile(path: string): StateOfFile {
  const file = basename(path)
  const refuse = (why: string) => new DomainError('configuration_invalid', `${file}: ${why}`)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new DomainError('configuration_invalid', `there is no state file ${path}`, {
        remedy: `Write it, as docs/how-to/projects/state-file.md describes, or name another with --file.`,
      })
    throw refuse(`it cannot be read: ${(error as Error).message}`)
  }
  if (text.length > maxBytes) throw refuse(`it has more than ${maxBytes} characters`)
  let given: unknown
  try {
    given = parse(text, { maxAliasCount: 100, prettyErrors: true })
  } catch (error) {
    // The first line gives the error and its place; an excerpt of the file follows.
    throw refuse((error as Error).message.split('\n')[0] ?? '')
  }
  return parseStateFile(given ?? {}, file)
}
