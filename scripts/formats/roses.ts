/** Prints the example roses of the tests as JSON, for `roses.py`. */
import { exampleRows } from '../../test/support/training/example-model.ts'

process.stdout.write(JSON.stringify(exampleRows({ from: 0, to: 30 })))
