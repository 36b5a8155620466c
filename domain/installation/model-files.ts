/** Compares sent model files with those in use, and says whether their code needs an approval. */
import type { ModelDefinition } from '../model-definition.ts'
import { loosenedField } from './loosening.ts'
import { asStored, changedFields } from './plan.ts'

/** What the check of sent files finds. */
export interface CheckedFiles {
  definition: ModelDefinition
  codeDigest: string
  /** Digests of the code of the files by path. */
  files: Readonly<Record<string, string>>
  /** What only the gate can judge. */
  note?: string
}

export interface FileChange {
  path: string
  change: 'added' | 'changed' | 'removed'
}

/** The fields of a definition that a sender changes without an approval where they have no text: a text may be SQL or an address. */
const settings = /^(evaluation\.|release\.|monitor\.|label\.output\.threshold$)/

export function changedFiles(before: CheckedFiles['files'], after: CheckedFiles['files']): FileChange[] {
  const paths = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()
  return paths.flatMap((path): FileChange[] => {
    const [was, is] = [before[path], after[path]]
    if (was === is) return []
    return [{ path, change: was === undefined ? 'added' : is === undefined ? 'removed' : 'changed' }]
  })
}

/**
 * Returns the first field in which two definitions differ in more than settings, which are numbers, switches and durations; undefined where
 * they differ in settings alone.
 */
export function fieldOfCode(before: ModelDefinition, after: ModelDefinition): string | undefined {
  const stored = asStored(after)
  return changedFields(before, stored).find(
    (field) => !settings.test(field.path) || ![field.before, field.after].every(isSetting),
  )?.path
}

type Compared = Pick<CheckedFiles, 'definition' | 'files'>

/**
 * Returns why sent files need an approval: they would run other code in the workers than the files in use, or loosen a policy. Undefined where
 * only settings that tighten it differ.
 */
export function codeChange(before: Compared | undefined, after: Compared): string | undefined {
  if (before === undefined) return 'the workers have run none of its files yet'
  const [file] = changedFiles(before.files, after.files)
  if (file !== undefined) return `the code of ${file.path} was ${file.change}`
  const field = fieldOfCode(before.definition, after.definition)
  if (field !== undefined) return `${field} of its definition has changed`
  const loosened = loosenedField(before.definition, after.definition)
  return loosened && `${loosened} loosens its policy`
}

const isSetting = (value: unknown): boolean =>
  typeof value === 'object' && value !== null
    ? Object.values(value).every(isSetting)
    : typeof value !== 'string'
