/** Refuses a choice among trials without validation rows: test rows that choose would no longer judge. */
import { DomainError } from '../errors.ts'
import { hasValidation, type ModelDefinition } from '../model-definition.ts'

/** Throws `invalid_request` with what to write into the model file. */
export function requireValidation(definition: Pick<ModelDefinition, 'name' | 'split'>): void {
  if (hasValidation(definition)) return
  const example = definition.split.kind === 'hash' ? 'validation: 0.1' : "validation: '2 d'"
  throw new DomainError(
    'invalid_request',
    `a sweep of ${definition.name} needs validation rows to choose by: add \`${example}\` to the split of its model file`,
  )
}
