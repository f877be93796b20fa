<?php echo "zoo";
