/** Refuses a file whose classes are in another order than those of the model file, because its outputs would be confused. */
import { refuse } from '../errors.ts'
import type { Output } from '../features.ts'

/**
 * Compares the classes. `classes`: the names in the file, in the order of its outputs; undefined when it has none. Throws
 * `artifact_invalid`.
 */
export function expectClasses(output: Output, classes: readonly string[] | undefined): void {
  if (classes === undefined) return
  const expected = output.kind === 'classes' ? output.classes : pairOf(output, classes)
  const isSame = classes.length === expected?.length && classes.every((each) => expected.includes(each))
  if (isSame && classes.some((each, at) => each !== expected[at]))
    refuse(
      `the file has the classes ${classes.join(', ')} in this order, the model ${expected.join(', ')}: ${remedyFor(classes)}`,
    )
}

/** Names that are the numbers from 0 on cannot be distinguished from positions. */
const remedyFor = (classes: readonly string[]): string =>
  [...classes].sort((a, b) => Number(a) - Number(b)).every((each, at) => each === String(at))
    ? 'list the classes in the model file in the order of their numbers'
    : 'train it on the positions of the classes in the model file, from 0, instead of their names'

/**
 * Returns the expected order of two classes when the first one is the positive class; undefined when the order is right or the names are
 * positions.
 */
const pairOf = (output: Output, [first, second, ...more]: readonly string[]): string[] | undefined =>
  output.kind === 'probability' &&
  more.length === 0 &&
  first === output.positive &&
  `${first}${second}` !== '01'
    ? [second!, first]
    : undefined
