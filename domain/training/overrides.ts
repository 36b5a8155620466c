/** Replaces hyperparameters of a model file for one training. Names and types must be those that the file declares. */
import { DomainError } from '../errors.ts'
import { redacted } from '../redact.ts'
import * as schema from '../schema.ts'

export type HyperparameterValue = number | string | boolean
export type HyperparameterValues = Readonly<Record<string, HyperparameterValue>>
export const hyperparametersField: schema.Schema<HyperparameterValues> = schema.map({
  anyOf: [schema.text, schema.number, schema.flag],
})

const kinds = { number: 'a finite number', string: 'a text', boolean: 'true or false' } as const
const kindOf = (value: unknown): (typeof kinds)[keyof typeof kinds] | undefined => {
  if (typeof value === 'number') return Number.isFinite(value) ? kinds.number : undefined
  if (typeof value === 'string') return kinds.string
  return typeof value === 'boolean' ? kinds.boolean : undefined
}

/** Redacted before it is cut: of a secret that is cut, no pattern knows the rest. */
const shownText = (value: unknown): string => redacted(JSON.stringify(value) ?? 'undefined').slice(0, 100)

/** Why the overrides do not fit the model, one sentence each; empty when they do. */
export function issuesOfOverrides(
  { name: model, hyperparameters: declared }: { name: string; hyperparameters: HyperparameterValues },
  overrides: Readonly<Record<string, unknown>>,
): string[] {
  return Object.entries(overrides).flatMap(([name, value]) => {
    if (!Object.hasOwn(declared, name)) {
      const names = Object.keys(declared)
      const known = names.length === 0 ? 'its model file declares none' : `it has ${names.join(', ')}`
      return [`${model} has no hyperparameter ${shownText(name)}: ${known}`]
    }
    const expected = kindOf(declared[name])
    if (kindOf(value) === expected) return []
    const given = typeof value === 'number' ? String(value) : shownText(value)
    const quoted =
      expected === kinds.string
        ? `: write "${String(value)}" in quotes, as in --set '${name}="${String(value)}"'`
        : ''
    return [
      `the hyperparameter ${name} is ${expected} (${JSON.stringify(declared[name])} in the model file), not ${given}${quoted}`,
    ]
  })
}

/** Throws `invalid_request` with every issue. Other SDKs send null for no overrides. */
export function requireOverrides(
  model: Parameters<typeof issuesOfOverrides>[0],
  overrides: Readonly<Record<string, unknown>> | null | undefined,
): void {
  const issues = issuesOfOverrides(model, overrides ?? {})
  if (issues.length === 0) return
  const declared = Object.entries(model.hyperparameters).map(
    ([name, value]) => `${name}=${JSON.stringify(value)}`,
  )
  const remedy =
    declared.length === 0
      ? 'Leave hyperparameters out, or declare them in the model file and run `tenure models sync`.'
      : `Set hyperparameters of the model file, which has ${declared.join(', ')}.`
  throw new DomainError('invalid_request', issues.join('; '), { issues, remedy })
}

/** The declared hyperparameters with the overrides applied. */
export const withOverrides = (
  declared: HyperparameterValues,
  overrides: HyperparameterValues = {},
): Record<string, HyperparameterValue> => ({ ...declared, ...overrides })

/** The overrides that differ from the model file; undefined without any. */
export function realOverrides(
  declared: HyperparameterValues,
  overrides: HyperparameterValues | undefined,
): Record<string, HyperparameterValue> | undefined {
  const real = Object.entries(overrides ?? {}).filter(([name, value]) => declared[name] !== value)
  return real.length === 0 ? undefined : Object.fromEntries(real)
}
