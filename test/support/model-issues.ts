/** Runs the definition of a model file for the tests of its mistakes. */
import { isError } from '../../domain/errors.ts'

/** Returns what `define` returns, the issues of a model file that is refused, or another error. */
export function valueOrIssues(define: () => unknown): unknown {
  try {
    return define()
  } catch (error) {
    return isError(error, 'invalid_model_file') ? error.context['issues'] : error
  }
}

/** Returns the issues of a model file, none when it is accepted, or another error. */
export const issuesOfModel = (define: () => unknown): unknown =>
  valueOrIssues(() => {
    define()
    return []
  })
