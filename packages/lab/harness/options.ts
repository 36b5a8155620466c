/** Reads the options of a bench from its command line. */
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { checkout } from '../../../temporal.config.ts'

type Widened<T> = T extends number ? number : T extends boolean ? boolean : string

/** Values by name, each of the type of its default: `--rounds 5` for `{ rounds: 3 }`. An empty text stands for none. */
export function readOptions<T extends Record<string, string | number | boolean>>(
  defaults: T,
): { [Name in keyof T]: Widened<T[Name]> } {
  const { values } = parseArgs({
    options: Object.fromEntries(
      Object.entries(defaults).map(([name, value]) => [
        name,
        { type: typeof value === 'boolean' ? 'boolean' : 'string' },
      ]),
    ),
  })
  const read = Object.entries(defaults).map(([name, value]) => {
    const given = values[name]
    return [name, given !== undefined && typeof value === 'number' ? Number(given) : (given ?? value)]
  })
  return Object.fromEntries(read) as { [Name in keyof T]: Widened<T[Name]> }
}

/** The path of a report in `packages/lab/`. */
export const reportFile = (name: string): string => join(checkout, 'packages', 'lab', name)
