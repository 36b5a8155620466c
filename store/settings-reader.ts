/** Reads and checks settings of an environment by their names. Every issue is collected: each alone would cost a restart. */
import { withSecretFiles } from './secret-files.ts'

type Environment = Record<string, string | undefined>

export type SettingsReader = ReturnType<typeof settingsReader>

export function settingsReader(variables: Environment, issues: string[]) {
  const environment = withSecretFiles(variables, issues)
  /** An empty value counts as absent. */
  const given = (name: string): string | undefined => {
    const value = environment[name]
    return value === undefined || value.trim() === '' ? undefined : value
  }
  return {
    environment,
    issues,
    given,
    text(name: string, fallback?: string): string {
      const value = given(name) ?? fallback
      if (value === undefined) issues.push(`${name} is missing`)
      return value ?? ''
    },
    whole<T extends number | undefined>(name: string, fallback: T, min: number, max: number): number | T {
      const text = given(name)
      if (text === undefined) return fallback
      const value = Number(text)
      if (!Number.isInteger(value) || value < min || value > max)
        issues.push(`${name} is a whole number from ${min} to ${max}, not "${text}"`)
      return value
    },
    oneOf<T extends string>(name: string, fallback: T, values: readonly T[]): T {
      const value = (given(name) ?? fallback) as T
      if (!values.includes(value)) issues.push(`${name} is one of ${values.join(', ')}, not "${value}"`)
      return value
    },
    listOf(name: string, pattern: RegExp, what: string): string[] {
      const entries = (given(name) ?? '').split(',').map((entry) => entry.trim())
      const named = entries.filter((entry) => entry !== '')
      if (!named.every((entry) => pattern.test(entry))) issues.push(`${name} is a list of ${what}`)
      return named
    },
  }
}
