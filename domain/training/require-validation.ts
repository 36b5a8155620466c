/** Refuses to choose among trials without validation rows: test rows that choose could no longer judge. */
import { DomainError } from '../errors.ts'
import { hasValidation, type ModelDefinition } from '../model-definition.ts'

/** Throws `invalid_request`, with the line to add to the model file. */
export function requireValidation(definition: Pick<ModelDefinition, 'name' | 'split'>): void {
  if (hasValidation(definition)) return
  const example = definition.split.kind === 'hash' ? 'validation: 0.1' : "validation: '2 d'"
  throw new DomainError(
    'invalid_request',
    `a sweep of ${definition.name} needs validation rows to choose by: add \`${example}\` to the split of its model file`,
  )
}
