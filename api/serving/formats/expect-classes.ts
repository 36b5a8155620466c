/** Refuses a file whose classes stand in another order than those of the model file: its outputs would be taken for each other. */
import type { Output } from '../../../domain/model/features.ts'
import { refuse } from '../network/layers-model.ts'

/** `classes` as the file names them, in the order of its outputs; undefined where it does not. Throws `artifact_invalid`. */
export function expectClasses(output: Output, classes: readonly string[] | undefined): void {
  if (classes === undefined) return
  const wanted = output.kind === 'classes' ? output.classes : pairOf(output, classes)
  const isSame = classes.length === wanted?.length && classes.every((each) => wanted.includes(each))
  if (isSame && classes.some((each, at) => each !== wanted[at]))
    refuse(
      `the file has the classes ${classes.join(', ')} in this order, the model ${wanted.join(', ')}: ${remedyFor(classes)}`,
    )
}

/** Names that are numbers from 0 cannot be told from places. */
const remedyFor = (classes: readonly string[]): string =>
  [...classes].sort((a, b) => Number(a) - Number(b)).every((each, at) => each === String(at))
    ? 'list the classes in the model file in the order of their numbers'
    : 'train it on the places of that order, from 0, in place of the names'

/** The order of two classes whose second is the positive one; undefined where they are places or other names. */
const pairOf = (output: Output, [first, second, ...more]: readonly string[]): string[] | undefined =>
  output.kind === 'probability' &&
  more.length === 0 &&
  first === output.positive &&
  `${first}${second}` !== '01'
    ? [second!, first]
    : undefined
