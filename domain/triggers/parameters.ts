/** Checks the parameters of a webhook against those that its trigger declares. */
import type { Feature, Features } from '../model/features.ts'
import type { HyperparameterValues } from '../training/overrides.ts'
import type { TriggerDefinition } from './trigger.ts'

export type ParameterValues = Readonly<Record<string, string | number>>

/** All issues; empty when the parameters are valid. */
export function issuesOfParameters(trigger: TriggerDefinition, given: ParameterValues): string[] {
  const declared: Features = trigger.kind === 'webhook' ? trigger.parameters : {}
  const names = Object.keys(declared).join(', ') || 'none'
  const unknown = Object.keys(given).filter((name) => !Object.hasOwn(declared, name))
  return [
    ...unknown.map(
      (name) => `${JSON.stringify(name)} is not a parameter of ${trigger.name}: it has ${names}`,
    ),
    ...Object.entries(declared).flatMap(([name, feature]) => {
      const issue = issueOfValue(feature, given[name])
      return issue === undefined ? [] : [`${name} ${issue}`]
    }),
  ]
}

function issueOfValue(feature: Feature, value: string | number | undefined): string | undefined {
  if (value === undefined) return feature.missing === 'fill' ? undefined : 'is missing'
  if (feature.kind !== 'number') {
    if (typeof value !== 'string') return 'is a text'
    const values = feature.kind === 'category' ? feature.values : undefined
    return values === undefined || values.includes(value)
      ? undefined
      : `is one of ${values.join(', ')}, not ${JSON.stringify(value)}`
  }
  const { min = -Infinity, max = Infinity } = feature
  if (typeof value !== 'number') return 'is a number'
  return value >= min && value <= max ? undefined : `is between ${min} and ${max}, not ${value}`
}

/** The parameters that replace hyperparameters of the model; undefined without any. */
export function overridesIn(
  declared: HyperparameterValues,
  given: ParameterValues,
): HyperparameterValues | undefined {
  const found = Object.entries(given).filter(([name]) => Object.hasOwn(declared, name))
  return found.length === 0 ? undefined : Object.fromEntries(found)
}
