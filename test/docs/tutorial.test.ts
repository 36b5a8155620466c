/** Follows docs/tutorial.md with its model file in TypeScript. */
import { followTutorial } from '../support/docs/follow-tutorial.ts'

followTutorial('typescript')
